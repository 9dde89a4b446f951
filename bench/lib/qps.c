/*
 * qps.c
 *	  Times one prepared query over one or more connections.
 *
 * The client must cost next to nothing beside the server, or it flattens the
 * ratio of two systems: one libpq round trip per query, the vector as a binary
 * parameter, ids as binary results, nothing parsed on either side.
 *
 *	  qps CONNINFO CONNECTIONS QUERIES K SQL
 *
 * QUERIES is a file of parameters in the wire format, each after its length
 * (32 bits in network order); "-" stands for a query without parameter.
 * Commands come on standard input, one per line, and each is answered by one
 * line of JSON:
 *
 *	  sql STATEMENT			run it on every connection
 *	  pass FILE				run every query once on the first connection and write
 *							the ids to FILE: K int32 per query, -1 where missing
 *	  pid					the process of the first connection's backend
 *	  repeat N				from now on, time asks each query N times in a row
 *	  pin					keep each connection, this end and the backend, on one CPU
 *	  time WARM SECONDS		random queries on all connections at once for SECONDS,
 *							after WARM seconds that are not counted
 */
#define _GNU_SOURCE				/* CPU_SET */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>

#include <libpq-fe.h>

#define STATEMENT	"bench"

typedef struct Worker
{
	PGconn	   *conn;
	int			number;
	pthread_t	thread;
	uint64_t	random;			/* state of the generator, never 0 */
	int			query;			/* that was asked last */
	size_t		asked;
	double		warm;			/* seconds before counting */
	double		limit;			/* seconds that count */
	double		elapsed;		/* seconds that did count */
	uint64_t	cpu_ns;			/* what the backend ran meanwhile */
	float	   *latency;		/* milliseconds, one per query */
	size_t		queries;
	size_t		capacity;
} Worker;

typedef struct Param
{
	const char *value;
	int			length;
} Param;

static Param *params;			/* NULL: the query has none */
static int	n_params = 1;
static int	k;
static int	repeat = 1;
static bool pinned;
static pthread_barrier_t start_line;

static void
die(const char *what, PGconn *conn)
{
	fprintf(stderr, "qps: %s: %s", what, conn ? PQerrorMessage(conn) : "\n");
	exit(1);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static uint64_t
next_random(uint64_t *state)
{
	uint64_t	x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/*
 * Nanoseconds that the backend has been on a CPU; 0 where the kernel does not
 * say.  On a busy machine this is the steadier figure.
 */
static uint64_t
backend_cpu_ns(PGconn *conn)
{
	char		path[64];
	uint64_t	ns = 0;
	FILE	   *file;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", PQbackendPID(conn));
	file = fopen(path, "r");
	if (file == NULL)
		return 0;
	if (fscanf(file, "%" SCNu64, &ns) != 1)
		ns = 0;
	fclose(file);
	return ns;
}

/* The query to time next. */
static int
next_query(Worker *w)
{
	if (w->asked++ % repeat == 0)
		w->query = next_random(&w->random) % n_params;
	return w->query;
}

static PGresult *
run_query(PGconn *conn, int i)
{
	const char *value = params ? params[i].value : NULL;
	int			length = params ? params[i].length : 0;
	int			format = 1;
	PGresult   *result;

	result = PQexecPrepared(conn, STATEMENT, params ? 1 : 0, &value, &length,
							&format, 1);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("query failed", conn);
	return result;
}

static void
remember(Worker *w, float ms)
{
	if (w->queries == w->capacity)
	{
		w->capacity = w->capacity ? w->capacity * 2 : 4096;
		w->latency = realloc(w->latency, w->capacity * sizeof(float));
		if (w->latency == NULL)
			die("out of memory", NULL);
	}
	w->latency[w->queries++] = ms;
}

/*
 * Where client and backend sit on two CPUs, each falls asleep while the other
 * works, and a virtual machine takes tens of microseconds to wake one.  On the
 * same CPU they take turns.
 */
static void
pin_worker(Worker *w)
{
	long		cpus = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t	set;

	CPU_ZERO(&set);
	CPU_SET(w->number % cpus, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0 ||
		sched_setaffinity(PQbackendPID(w->conn), sizeof(set), &set) != 0)
		die("could not set the CPU", NULL);
}

static void *
run_worker(void *arg)
{
	Worker	   *w = arg;
	double		start;
	double		before;
	uint64_t	cpu;

	if (pinned)
		pin_worker(w);
	for (start = now(); now() - start < w->warm;)
		PQclear(run_query(w->conn, next_query(w)));

	pthread_barrier_wait(&start_line);
	cpu = backend_cpu_ns(w->conn);
	w->queries = 0;
	start = before = now();
	while (before - start < w->limit)
	{
		double		after;

		PQclear(run_query(w->conn, next_query(w)));
		after = now();
		remember(w, (float) ((after - before) * 1e3));
		before = after;
	}
	w->elapsed = before - start;
	w->cpu_ns = backend_cpu_ns(w->conn) - cpu;
	return NULL;
}

static int
compare_float(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return (x > y) - (x < y);
}

static void
command_time(Worker *workers, int n, double warm, double seconds)
{
	size_t		total = 0;
	double		rate = 0;
	uint64_t	cpu_ns = 0;
	float	   *all;

	pthread_barrier_init(&start_line, NULL, n);
	for (int i = 0; i < n; i++)
	{
		workers[i].warm = warm;
		workers[i].limit = seconds;
		if (pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]))
			die("could not start a thread", NULL);
	}
	for (int i = 0; i < n; i++)
	{
		pthread_join(workers[i].thread, NULL);
		total += workers[i].queries;
		cpu_ns += workers[i].cpu_ns;
		rate += workers[i].queries / workers[i].elapsed;
	}
	pthread_barrier_destroy(&start_line);

	all = malloc(total * sizeof(float));
	if (all == NULL)
		die("out of memory", NULL);
	for (size_t i = 0, at = 0; i < (size_t) n; at += workers[i++].queries)
		memcpy(all + at, workers[i].latency, workers[i].queries * sizeof(float));
	qsort(all, total, sizeof(float), compare_float);
	printf("{\"queries\": %zu, \"qps\": %.2f, \"p50_ms\": %.4f, "
		   "\"p99_ms\": %.4f, \"cpu_us\": %.2f}\n",
		   total, rate, all[total / 2], all[total * 99 / 100],
		   cpu_ns / 1e3 / total);
	free(all);
}

static void
command_pass(PGconn *conn, const char *path)
{
	FILE	   *out = fopen(path, "wb");
	double		start = now();

	if (out == NULL)
		die("could not open the file for ids", NULL);
	for (int i = 0; i < n_params; i++)
	{
		PGresult   *result = run_query(conn, i);

		for (int row = 0; row < k; row++)
		{
			int32_t		id = -1;

			if (row < PQntuples(result))
			{
				memcpy(&id, PQgetvalue(result, row, 0), sizeof(id));
				id = (int32_t) ntohl((uint32_t) id);
			}
			fwrite(&id, sizeof(id), 1, out);
		}
		PQclear(result);
	}
	if (fclose(out) != 0)
		die("could not write the ids", NULL);
	printf("{\"queries\": %d, \"seconds\": %.4f}\n", n_params, now() - start);
}

static void
command_sql(Worker *workers, int n, const char *sql)
{
	for (int i = 0; i < n; i++)
	{
		PGresult   *result = PQexec(workers[i].conn, sql);
		ExecStatusType status = PQresultStatus(result);

		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
			die(sql, workers[i].conn);
		PQclear(result);
	}
	printf("{}\n");
}

static void
read_params(const char *path)
{
	FILE	   *file = fopen(path, "rb");
	long		size;
	char	   *data;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0)
		die("could not open the queries", NULL);
	size = ftell(file);
	rewind(file);
	data = malloc(size);
	/* No parameter is shorter than its length word, so there is room. */
	params = malloc((size / sizeof(uint32_t) + 1) * sizeof(Param));
	if (data == NULL || params == NULL ||
		fread(data, 1, size, file) != (size_t) size)
		die("could not read the queries", NULL);
	fclose(file);

	n_params = 0;
	for (long at = 0; at < size; at += params[n_params++].length)
	{
		uint32_t	length = 0;

		if (size - at >= (long) sizeof(length))
			memcpy(&length, data + at, sizeof(length));
		at += sizeof(length);
		length = ntohl(length);
		if (at > size || length > (unsigned long) (size - at))
			die("the queries are cut off", NULL);
		params[n_params].value = data + at;
		params[n_params].length = (int) length;
	}
	if (n_params < 1)
		die("no queries", NULL);
}

static void
connect_worker(Worker *w, const char *conninfo, const char *sql)
{
	PGresult   *result;

	w->conn = PQconnectdb(conninfo);
	if (PQstatus(w->conn) != CONNECTION_OK)
		die("could not connect", w->conn);
	result = PQprepare(w->conn, STATEMENT, sql, 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("could not prepare", w->conn);
	PQclear(result);
}

int
main(int argc, char **argv)
{
	char		line[8192];
	int			n;
	Worker	   *workers;

	if (argc != 6 || (n = atoi(argv[2])) < 1)
	{
		fprintf(stderr, "usage: qps CONNINFO CONNECTIONS QUERIES K SQL\n");
		return 2;
	}
	k = atoi(argv[4]);
	if (strcmp(argv[3], "-") != 0)
		read_params(argv[3]);
	workers = calloc(n, sizeof(Worker));
	if (workers == NULL)
		die("out of memory", NULL);
	for (int i = 0; i < n; i++)
	{
		connect_worker(&workers[i], argv[1], argv[5]);
		workers[i].number = i;
		workers[i].random = 0x9E3779B97F4A7C15u * (uint64_t) (i + 1);
	}

	while (fgets(line, sizeof(line), stdin))
	{
		double		warm;
		double		seconds;

		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "sql ", 4) == 0)
			command_sql(workers, n, line + 4);
		else if (strncmp(line, "pass ", 5) == 0)
			command_pass(workers[0].conn, line + 5);
		else if (strcmp(line, "pid") == 0)
			printf("{\"pid\": %d}\n", PQbackendPID(workers[0].conn));
		else if (sscanf(line, "repeat %d", &repeat) == 1 && repeat > 0)
			printf("{}\n");
		else if (strcmp(line, "pin") == 0)
		{
			pinned = true;
			printf("{}\n");
		}
		else if (sscanf(line, "time %lf %lf", &warm, &seconds) == 2)
			command_time(workers, n, warm, seconds);
		else
			die("unknown command", NULL);
		fflush(stdout);
	}
	for (int i = 0; i < n; i++)
		PQfinish(workers[i].conn);
	return 0;
}
