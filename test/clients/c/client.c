/*
 * client.c: piramid through libpq, values in binary format both ways.
 * Prints TAP.  The connection comes from the environment (PGHOST, ...).
 */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

static PGconn *conn;
static int	points;
static int	failures;

static void
ok(bool passed, const char *format,...)
{
	va_list		args;

	printf("%s %d - ", passed ? "ok" : "not ok", ++points);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	if (!passed)
	{
		failures++;
		printf("# %s\n", PQerrorMessage(conn));
	}
}

/* What must not fail for the test to go on. */
static PGresult *
must(PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN)
	{
		printf("Bail out! %s\n", PQerrorMessage(conn));
		exit(1);
	}
	return result;
}

static void
sql(const char *command)
{
	PQclear(must(PQexec(conn, command)));
}

/* A value in network byte order, as it goes over the wire. */
typedef struct
{
	char		data[1024];
	int			length;
} Wire;

static void
put(Wire *wire, uint64_t value, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--)
		wire->data[wire->length++] = (char) (value >> (8 * i));
}

static uint32_t
get(const char *data, int bytes)
{
	uint32_t	value = 0;

	for (int i = 0; i < bytes; i++)
		value = value << 8 | (unsigned char) data[i];
	return value;
}

static uint32_t
float_bits(float value)
{
	uint32_t	bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static float
get_float(const char *data)
{
	uint32_t	bits = get(data, 4);
	float		value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* binary16; exact for the small numbers that are used here. */
static uint16_t
half_bits(float value)
{
	int			exponent;
	float		fraction = frexpf(fabsf(value), &exponent);

	if (value == 0)
		return 0;
	return (value < 0) << 15 | (exponent + 14) << 10 | (int) ((fraction * 2 - 1) * 1024);
}

/* [docs: encode */
/* vector: int16 dimensions, int16 zero, then float4 each; network byte order */
static Wire
vector_to_wire(const float *x, int dim)
{
	Wire		wire = {.length = 0};

	put(&wire, dim, 2);
	put(&wire, 0, 2);
	for (int i = 0; i < dim; i++)
		put(&wire, float_bits(x[i]), 4);
	return wire;
}
/* docs] */

static Wire
halfvec_to_wire(const float *x, int dim)
{
	Wire		wire = {.length = 0};

	put(&wire, dim, 2);
	put(&wire, 0, 2);
	for (int i = 0; i < dim; i++)
		put(&wire, half_bits(x[i]), 2);
	return wire;
}

/* sparsevec: dimensions, non-zeros, zero, indices from 0, values */
static Wire
sparsevec_to_wire(const float *x, int dim)
{
	Wire		wire = {.length = 0};
	int			count = 0;

	for (int i = 0; i < dim; i++)
		count += x[i] != 0;
	put(&wire, dim, 4);
	put(&wire, count, 4);
	put(&wire, 0, 4);
	for (int i = 0; i < dim; i++)
		if (x[i] != 0)
			put(&wire, i, 4);
	for (int i = 0; i < dim; i++)
		if (x[i] != 0)
			put(&wire, float_bits(x[i]), 4);
	return wire;
}

static Wire
bit_to_wire(const float *x, int dim)
{
	Wire		wire = {.length = 0};
	int			byte = 0;

	for (int i = 0; i < dim; i++)
		byte |= (x[i] > 0) << (7 - i);
	put(&wire, dim, 4);
	put(&wire, byte, 1);
	return wire;
}

#define DIM 3

static const struct
{
	const char *column;
	const char *type;
	Wire		(*encode) (const float *x, int dim);
}			types[] = {
	{"embedding", "vector", vector_to_wire},
	{"half", "halfvec", halfvec_to_wire},
	{"sparse", "sparsevec", sparsevec_to_wire},
	{"bits", "bit", bit_to_wire},
};
#define TYPES 4
#define BIT 3

/* A row as parameters: id, category and the four columns; no x for NULLs. */
typedef struct
{
	Wire		wire[TYPES + 2];
	const char *values[TYPES + 2];
	int			lengths[TYPES + 2];
} Row;

static const int binary[TYPES + 2] = {1, 1, 1, 1, 1, 1};

static void
fill_row(Row *row, int id, int category, const float *x, const float *bits)
{
	memset(row, 0, sizeof(*row));
	put(&row->wire[0], id, 4);
	put(&row->wire[1], category, 4);
	for (int t = 0; t < TYPES && x; t++)
		row->wire[2 + t] = types[t].encode(t == BIT ? bits : x, DIM);
	for (int i = 0; i < TYPES + 2; i++)
	{
		row->values[i] = row->wire[i].length ? row->wire[i].data : NULL;
		row->lengths[i] = row->wire[i].length;
	}
}

static const float query[DIM] = {1, 2, 3};
static const float query_bits[DIM] = {1, 0, 1};

static const struct
{
	int			id;
	int			category;
	float		x[DIM];
	float		bits[DIM];
}			items[] = {
	{1, 1, {1, 2, 3}, {1, 0, 1}},
	{2, 2, {4, 5, 6}, {0, 0, 0}},
	{3, 1, {1, 1, 3}, {1, 1, 1}},
};

static const char insert[] = "INSERT INTO items (id, category, embedding, half, sparse, bits)"
" VALUES ($1, $2, $3, $4, $5, $6)";

static void
create_tables(void)
{
	PGresult   *result;

	/* [docs: connect */
	conn = PQconnectdb("");		/* or "host=... dbname=..." */
	result = PQexec(conn, "CREATE EXTENSION IF NOT EXISTS vector");
	/* docs] */
	PQclear(must(result));
	sql("CREATE TABLE items (id int PRIMARY KEY, category int, embedding vector(3),"
		" half halfvec(3), sparse sparsevec(3), bits bit(3))");
}

/* What arrives in binary is what was sent. */
static void
check_row(const char *how, int id, const Row *row)
{
	char		command[128];
	PGresult   *result;

	snprintf(command, sizeof(command),
			 "SELECT id, category, embedding, half, sparse, bits FROM items WHERE id = %d", id);
	result = must(PQexecParams(conn, command, 0, NULL, NULL, NULL, NULL, 1));
	for (int i = 2; i < TYPES + 2; i++)
	{
		bool		same;

		if (PQntuples(result) != 1)
			same = false;
		else if (row->values[i] == NULL)
			same = PQgetisnull(result, 0, i);
		else
			same = !PQgetisnull(result, 0, i) && PQgetlength(result, 0, i) == row->lengths[i] &&
				memcmp(PQgetvalue(result, 0, i), row->values[i], row->lengths[i]) == 0;
		ok(same, "%s: %s %d reads back", how, types[i - 2].type, id);
	}
	PQclear(result);
}

static void
test_insert(void)
{
	Row			row;

	PQclear(must(PQprepare(conn, "insert", insert, 0, NULL)));
	for (int i = 0; i < 3; i++)
	{
		fill_row(&row, items[i].id, items[i].category, items[i].x, items[i].bits);
		PQclear(must(PQexecPrepared(conn, "insert", TYPES + 2, row.values, row.lengths, binary, 1)));
		check_row("prepared insert", items[i].id, &row);
	}
	fill_row(&row, 4, 1, NULL, NULL);
	PQclear(must(PQexecPrepared(conn, "insert", TYPES + 2, row.values, row.lengths, binary, 1)));
	check_row("NULL", 4, &row);
}

static void
test_text(void)
{
	static const char *const texts[TYPES] = {"[4,5,6]", "[4,5,6]", "{1:4,2:5,3:6}/3", "000"};
	PGresult   *result = must(PQexec(conn, "SELECT embedding, half, sparse, bits FROM items WHERE id = 2"));

	for (int i = 0; i < TYPES; i++)
		ok(strcmp(PQgetvalue(result, 0, i), texts[i]) == 0, "%s as text", types[i].type);
	PQclear(result);
}

/* The ids that a query returns, as "1 2 3". */
static const char *
ids(PGresult *result)
{
	static char list[64];
	int			length = 0;

	list[0] = '\0';
	for (int i = 0; i < PQntuples(result); i++)
		length += snprintf(list + length, sizeof(list) - length, i ? " %u" : "%u",
						   get(PQgetvalue(result, i, 0), 4));
	PQclear(result);
	return list;
}

static void
check_search(int type, const char *operator, const char *opclass, const char *expected)
{
	char		command[256];
	Wire		wire = types[type].encode(type == BIT ? query_bits : query, DIM);
	const char *value = wire.data;
	PGresult   *result;
	const char *found;

	snprintf(command, sizeof(command), "CREATE INDEX ON items USING hnsw (%s %s_%s_ops)",
			 types[type].column, types[type].type, opclass);
	sql(command);
	snprintf(command, sizeof(command), "EXPLAIN SELECT id FROM items ORDER BY %s %s $1 LIMIT 3",
			 types[type].column, operator);
	result = must(PQexecParams(conn, command, 1, NULL, &value, &wire.length, binary, 0));
	ok(strstr(PQgetvalue(result, 1, 0), "Index Scan") != NULL, "%s %s uses the index",
	   types[type].type, operator);
	PQclear(result);
	found = ids(must(PQexecParams(conn, command + strlen("EXPLAIN "), 1, NULL, &value, &wire.length,
								  binary, 1)));
	ok(strcmp(found, expected) == 0, "%s %s finds %s (%s)", types[type].type, operator, expected, found);
}

static void
test_search(void)
{
	Wire		wire;
	const char *value;
	int			length;
	int			format;
	PGresult   *result;
	const char *found;

	sql("SET enable_seqscan = off");
	for (int t = 0; t < BIT; t++)
	{
		check_search(t, "<->", "l2", "1 3 2");
		check_search(t, "<#>", "ip", "2 1 3");
		check_search(t, "<=>", "cosine", "1 2 3");
		check_search(t, "<+>", "l1", "1 3 2");
	}
	check_search(BIT, "<~>", "hamming", "1 3 2");
	check_search(BIT, "<%>", "jaccard", "1 3 2");

	result = PQprepare(conn, "search",
					   "SELECT id, embedding <-> $1 FROM items WHERE category = 1"
					   " ORDER BY embedding <-> $1 LIMIT 5", 0, NULL);
	PQclear(must(result));
	/* [docs: search */
	/* prepared: SELECT ... WHERE category = 1 ORDER BY embedding <-> $1 LIMIT 5 */
	wire = vector_to_wire(query, 3);
	value = wire.data;
	length = wire.length;
	format = 1;					/* binary; as are the results */
	result = PQexecPrepared(conn, "search", 1, &value, &length, &format, 1);
	/* docs] */
	ok(PQntuples(must(result)) == 2 && PQgetlength(result, 1, 1) == 8 &&
	   get(PQgetvalue(result, 1, 1), 4) == 0x3ff00000, "the distance of the second is 1");
	found = ids(result);
	ok(strcmp(found, "1 3") == 0, "prepared, with a filter: 1 3 (%s)", found);
}

static void
test_copy(void)
{
	Wire		wire = {.length = 0};
	Row			row;
	PGresult   *result;

	memcpy(wire.data, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
	wire.length = 19;
	fill_row(&row, 5, 2, items[0].x, items[0].bits);
	put(&wire, TYPES + 2, 2);
	for (int i = 0; i < TYPES + 2; i++)
	{
		put(&wire, row.lengths[i], 4);
		memcpy(wire.data + wire.length, row.values[i], row.lengths[i]);
		wire.length += row.lengths[i];
	}
	put(&wire, 0xffff, 2);
	PQclear(must(PQexec(conn, "COPY items (id, category, embedding, half, sparse, bits)"
						" FROM STDIN (FORMAT binary)")));
	ok(PQputCopyData(conn, wire.data, wire.length) == 1 && PQputCopyEnd(conn, NULL) == 1,
	   "COPY in binary");
	PQclear(must(PQgetResult(conn)));
	while ((result = PQgetResult(conn)) != NULL)
		PQclear(result);
	check_row("COPY", 5, &row);
}

/* Fails with this SQLSTATE; the message names what was wrong. */
static void
check_error(const char *what, Wire wire, const char *sqlstate, const char *message)
{
	const char *value = wire.data;
	PGresult   *result = PQexecParams(conn, "INSERT INTO items (id, embedding) VALUES (9, $1)",
									  1, NULL, &value, &wire.length, binary, 0);
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	ok(state && strcmp(state, sqlstate) == 0 && strstr(PQresultErrorMessage(result), message),
	   "%s: %s %s", what, sqlstate, message);
	PQclear(result);
}

static void
test_errors(void)
{
	float		nan[DIM] = {1, NAN, 3};
	Wire		wire;

	check_error("wrong dimension", vector_to_wire(query, 2), "22000", "expected 3 dimensions, not 2");
	check_error("NaN", vector_to_wire(nan, DIM), "22000", "NaN not allowed in vector");
	wire = vector_to_wire(query, 3);
	wire.length -= 4;
	check_error("a value cut short", wire, "08P01", "");
	wire.length += 8;
	check_error("a value with junk behind", wire, "22P03", "");
}

static void
test_rollback(void)
{
	Row			row;
	PGresult   *result;

	fill_row(&row, 6, 1, items[0].x, items[0].bits);
	sql("BEGIN");
	PQclear(must(PQexecPrepared(conn, "insert", TYPES + 2, row.values, row.lengths, binary, 1)));
	sql("ROLLBACK");
	result = must(PQexecParams(conn, "SELECT count(*) FROM items WHERE id = 6", 0, NULL, NULL, NULL,
							   NULL, 0));
	ok(strcmp(PQgetvalue(result, 0, 0), "0") == 0, "a rolled back row is gone");
	PQclear(result);
}

/* Aggregates give the type back; its elements decode. */
static void
test_average(void)
{
	PGresult   *result = must(PQexecParams(conn, "SELECT avg(embedding) FROM items WHERE id < 4",
										   0, NULL, NULL, NULL, NULL, 1));
	const char *value = PQgetvalue(result, 0, 0);

	ok(get(value, 2) == DIM && get_float(value + 4) == 2 && get_float(value + 12) == 4,
	   "avg(vector)");
	PQclear(result);
}

int
main(void)
{
	create_tables();
	test_insert();
	test_text();
	test_search();
	test_average();
	test_copy();
	test_errors();
	test_rollback();
	printf("1..%d\n", points);
	PQfinish(conn);
	return failures != 0;
}
