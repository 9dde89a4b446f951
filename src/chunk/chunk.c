/*-------------------------------------------------------------------------
 *
 * chunk.c
 *		piramid_chunk(): a text as a set of chunks.
 *
 * The pieces are found for the whole text, then rows, with their texts, are made.
 *
 *-------------------------------------------------------------------------
 */
#include "chunk/chunk.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define DEFAULT_SIZE 1000
#define OVERLAP_SHARE 10		/* the overlap is a tenth of the size by default */

/* A piece of bytes must hold a character of every encoding, also without its overlap. */
#define LEAST_BYTES 8

/* Longer headings and first rows are cut: each chunk below one has a copy. */
#define PATH_BYTES 1000

#define RESULT_COLUMNS 6

typedef enum ChunkStrategy
{
	STRATEGY_FIXED,
	STRATEGY_RECURSIVE,
	STRATEGY_MARKDOWN,
	STRATEGY_SENTENCE
} ChunkStrategy;

static const char *const strategies[] = {"fixed", "recursive", "markdown", "sentence", NULL};
static const char *const units[] = {"chars", "words", "bytes", NULL};

/* What the rows of one result share */
typedef struct ChunkRows
{
	ChunkText	text;
	ChunkStrategy strategy;
	uint32		size;
	uint32		overlap;
	ChunkCores	cores;
	uint32		start;			/* of the last row, in bytes */
	int64		start_chars;	/* characters before it */
	int			block;			/* the first that does not end before the row */
} ChunkRows;

/* The place of an argument's value in a list of names */
static int
choose_name(FunctionCallInfo fcinfo, int arg, const char *what, const char *const *names,
			int otherwise)
{
	char	   *name;

	if (PG_ARGISNULL(arg))
		return otherwise;
	name = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	for (int i = 0; names[i] != NULL; i++)
	{
		if (strcmp(name, names[i]) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no %s \"%s\"", what, name),
			 names[3] == NULL ?
			 errhint("There are %s, %s and %s.", names[0], names[1], names[2]) :
			 errhint("There are %s, %s, %s and %s.", names[0], names[1], names[2], names[3])));
	return -1;
}

static void
read_sizes(FunctionCallInfo fcinfo, ChunkRows *rows)
{
	int32		size = PG_ARGISNULL(2) ? DEFAULT_SIZE : PG_GETARG_INT32(2);
	int32		overlap = PG_ARGISNULL(3) ? size / OVERLAP_SHARE : PG_GETARG_INT32(3);
	int32		least = rows->text.unit == CHUNK_BYTES ? LEAST_BYTES : 1;

	if (size < least)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a chunk has at least %d %s, not %d", least, units[rows->text.unit], size)));
	if (overlap < 0 || overlap > size / 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the overlap of chunks of %d is from 0 to %d, not %d", size, size / 2, overlap),
				 errhint("At most half of a chunk repeats the one before.")));
	rows->size = size;
	rows->overlap = overlap;
}

/*
 * The pieces of each section.  Headings without text of their own go with the
 * section that follows.
 */
static void
split_sections(ChunkRows *rows, uint32 to)
{
	ChunkText  *text = &rows->text;
	ChunkBoundary start = {0};

	for (int i = 0; i < text->nsections; i++)
	{
		int			first = i;

		while (i + 1 < text->nsections && !text->sections[i].has_text)
			i++;
		for (int j = first; j <= i; j++)
			text->sections[j].first_chunk = rows->cores.n;
		start.pos = text->sections[first].start;
		start.unit = 0;
		chunk_split(text, &start, i + 1 < text->nsections ? text->sections[i + 1].start : to,
					rows->size - rows->overlap, i, &rows->cores);
	}
}

static void
split_text(ChunkRows *rows)
{
	ChunkText  *text = &rows->text;
	ChunkBoundary start = {0};
	uint32		to = chunk_trim(text, 0, text->size);
	uint32		limit = rows->size - rows->overlap;

	start.pos = chunk_skip_blanks(text, 0, to);
	if (start.pos == to)
		return;
	switch (rows->strategy)
	{
		case STRATEGY_FIXED:
			chunk_split_fixed(text, &start, to, rows->size, limit, &rows->cores);
			break;
		case STRATEGY_RECURSIVE:
			chunk_split(text, &start, to, limit, -1, &rows->cores);
			break;
		case STRATEGY_MARKDOWN:
			chunk_find_sections(text, limit);
			split_sections(rows, to);
			break;
		case STRATEGY_SENTENCE:
			chunk_split_sentences(text, &start, to, limit, &rows->cores);
			break;
	}
}

/*
 * The first boundary behind "from" which the overlap of a piece may begin at: one of
 * level "enough" at least, or the strongest of those of level "least".  The piece's own
 * beginning if there is none.
 */
static uint32
first_within(const ChunkRows *rows, const ChunkCore *core, const ChunkBoundary *from,
			 ChunkLevel least, ChunkLevel enough)
{
	ChunkScan	scan;
	ChunkBoundary next;
	int			best = -1;
	uint32		start = core->pos;

	chunk_scan_start(&scan, &rows->text, from, core->pos, least);
	while (best < (int) enough && chunk_scan_next(&scan, &next))
	{
		/* Where blanks stand between words, none is cut. */
		if (next.level == CHUNK_CHAR && rows->strategy != STRATEGY_FIXED &&
			!IS_HIGHBIT_SET(rows->text.data[next.pos]))
			continue;
		if (core->unit - next.unit <= rows->overlap && (int) next.level > best)
		{
			best = next.level;
			start = next.pos;
		}
	}
	return start;
}

/*
 * Where piece i begins with its overlap: at the strongest boundary that the
 * overlap allows, the first of them; never before the piece before.  With fixed
 * sizes, as early as the overlap allows.
 */
static uint32
find_start(const ChunkRows *rows, int i)
{
	const ChunkCore *core = &rows->cores.core[i];
	ChunkBoundary from = {0};
	uint32		start = core->pos;

	if (i == 0 || rows->overlap == 0 || core[-1].section != core->section)
		return start;
	from.pos = core->pos;
	from.unit = core->unit;
	if (!chunk_step_back(&rows->text, rows->overlap + 1, core[-1].pos, &from))
	{
		from.pos = core[-1].pos;
		from.unit = core[-1].unit;
	}
	if (rows->strategy == STRATEGY_FIXED)
		return first_within(rows, core, &from, CHUNK_CHAR, CHUNK_CHAR);
	start = first_within(rows, core, &from, CHUNK_LINE, CHUNK_SENTENCE);
	if (start == core->pos)
		start = first_within(rows, core, &from, chunk_is_ascii(&rows->text, from.pos, core->pos) ?
							 CHUNK_WORD : CHUNK_CHAR, CHUNK_WORD);
	return start;
}

/* The chunk with which a chunk's section, or the section around it, begins */
static int
find_parent(const ChunkRows *rows, int i)
{
	const ChunkSection *sections = rows->text.sections;
	int			section = rows->cores.core[i].section;

	while (section >= 0 && sections[section].first_chunk == i)
		section = sections[section].parent;
	return section < 0 ? -1 : sections[section].first_chunk;
}

static void
add_to_path(const ChunkRows *rows, Datum *path, int *n, uint32 pos, uint32 size)
{
	const char *name = rows->text.data + pos;

	size = pg_mbcliplen(name, size, PATH_BYTES);
	path[(*n)++] = PointerGetDatum(cstring_to_text_with_len(name, size));
}

/* The headings above a chunk, and a table's first row where the table is cut */
static Datum
heading_path(ChunkRows *rows, int i)
{
	const ChunkText *text = &rows->text;
	const ChunkCore *core = &rows->cores.core[i];
	Datum		path[8];
	int			open[8];
	int			nopen = 0;
	int			n = 0;

	for (int s = core->section; s >= 0; s = text->sections[s].parent)
	{
		if (text->sections[s].title_size > 0)
			open[nopen++] = s;
	}
	while (nopen > 0)
	{
		const ChunkSection *section = &text->sections[open[--nopen]];

		add_to_path(rows, path, &n, section->title, section->title_size);
	}
	while (rows->block < text->nblocks && text->blocks[rows->block].end <= core->pos)
		rows->block++;
	if (rows->block < text->nblocks)
	{
		const ChunkBlock *block = &text->blocks[rows->block];

		if (block->header > 0 && core->pos > block->start)
			add_to_path(rows, path, &n, block->start, block->header);
	}
	return PointerGetDatum(construct_array(path, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* The text, and how it is to be cut */
static void
read_arguments(FunctionCallInfo fcinfo, ChunkRows *rows)
{
	ChunkText  *input = &rows->text;

	rows->strategy = choose_name(fcinfo, 1, "strategy", strategies, STRATEGY_RECURSIVE);
	input->unit = choose_name(fcinfo, 4, "unit", units, CHUNK_CHARS);
	read_sizes(fcinfo, rows);
	if (!PG_ARGISNULL(0))
	{
		struct varlena *body = PG_GETARG_TEXT_PP(0);

		input->data = VARDATA_ANY(body);
		input->size = VARSIZE_ANY_EXHDR(body);
		input->encoding = GetDatabaseEncoding();
		input->max_char = pg_database_encoding_max_length();
	}
}

static void
put_row(ChunkRows *rows, int i, ReturnSetInfo *result)
{
	uint32		start = find_start(rows, i);
	uint32		end = chunk_trim(&rows->text, start,
								 i + 1 < rows->cores.n ? rows->cores.core[i + 1].pos : rows->text.size);
	int			parent = find_parent(rows, i);
	Datum		values[RESULT_COLUMNS];
	bool		nulls[RESULT_COLUMNS] = {0};

	rows->start_chars += chunk_count_chars(&rows->text, rows->start, start);
	rows->start = start;
	values[0] = Int32GetDatum(i);
	values[1] = Int32GetDatum(parent);
	nulls[1] = parent < 0;
	values[2] = Int32GetDatum(rows->start_chars + 1);
	values[3] = Int32GetDatum(chunk_count_chars(&rows->text, start, end));
	values[4] = PointerGetDatum(cstring_to_text_with_len(rows->text.data + start, end - start));
	values[5] = heading_path(rows, i);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * piramid_chunk(body, strategy, size, overlap, unit): the chunks of a text.
 * substr(body, start, length) is a chunk's text.
 */
PG_FUNCTION_INFO_V1(piramid_chunk);
Datum
piramid_chunk(PG_FUNCTION_ARGS)
{
	ChunkRows	rows = {0};
	MemoryContext row_context;
	MemoryContext old;

	InitMaterializedSRF(fcinfo, 0);
	read_arguments(fcinfo, &rows);
	split_text(&rows);
	row_context = AllocSetContextCreate(CurrentMemoryContext, "row of piramid_chunk",
										ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(row_context);
	for (int i = 0; i < rows.cores.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		put_row(&rows, i, (ReturnSetInfo *) fcinfo->resultinfo);
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row_context);
	return (Datum) 0;
}
