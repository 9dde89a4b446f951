/*-------------------------------------------------------------------------
 *
 * boundary.c
 *		Where a text may be cut, and how much stands between two places.
 *
 * What a boundary is, its level and its rank depend on the few bytes around
 * it, and not on where a scan began: so an edit changes the boundaries near it
 * and no others.
 *
 * Every server encoding keeps the bytes of ASCII for ASCII, so blanks,
 * punctuation and Markdown are looked for byte by byte.
 *
 *-------------------------------------------------------------------------
 */
#include "chunk/chunk.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"

/* How far around a boundary its rank looks: bytes on each side */
#define RANK_CONTEXT 16

/* Bytes between two looks for a cancel */
#define SCAN_STRIDE 65536

/* Sixteen bytes; the compiler has instructions for them on every processor that has some. */
typedef uint8 Bytes __attribute__((vector_size(16)));

static inline Bytes
load_bytes(const char *from)
{
	Bytes		bytes;

	memcpy(&bytes, from, sizeof(bytes));
	return bytes;
}

/*
 * Bytes of the character at pos.  A text that ends inside a character, which
 * no input function lets pass, ends with a shorter one.
 */
uint32
chunk_char_size(const ChunkText *text, uint32 pos)
{
	unsigned char c = text->data[pos];
	uint32		size = 1;

	if (c < 0x80 || text->max_char == 1)
		return 1;
	if (text->encoding != PG_UTF8)
		size = pg_encoding_mblen(text->encoding, text->data + pos);
	else if (c >= 0xc0 && c < 0xf8)
		size = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	return Min(size, text->size - pos);
}

uint32
chunk_count_chars(const ChunkText *text, uint32 from, uint32 to)
{
	uint32		n = 0;

	if (text->max_char == 1)
		return to - from;
	if (text->encoding == PG_UTF8)
	{
		uint32		pos = from;

		/* Bytes that do not continue a character, which are 10xxxxxx: as many as a byte can count. */
		while (to - pos >= sizeof(Bytes))
		{
			uint32		stop = pos + Min((to - pos) / sizeof(Bytes), 255) * sizeof(Bytes);
			Bytes		counts = {0};

			for (; pos < stop; pos += sizeof(Bytes))
				counts -= (Bytes) ((load_bytes(text->data + pos) & 0xc0) != 0x80);
			for (int i = 0; i < sizeof(Bytes); i++)
				n += counts[i];
		}
		for (; pos < to; pos++)
			n += ((unsigned char) text->data[pos] & 0xc0) != 0x80;
		return n;
	}
	for (uint32 pos = from; pos < to; pos += chunk_char_size(text, pos))
		n++;
	return n;
}

/* Is all that stands between two places ASCII? */
bool
chunk_is_ascii(const ChunkText *text, uint32 from, uint32 to)
{
	uint64		word = 0;

	for (; to - from >= sizeof(word); from += sizeof(word))
	{
		memcpy(&word, text->data + from, sizeof(word));
		if ((word & UINT64CONST(0x8080808080808080)) != 0)
			return false;
	}
	for (; from < to; from++)
	{
		if (IS_HIGHBIT_SET(text->data[from]))
			return false;
	}
	return true;
}

/* Units of what stands between two places, the first of which is not blank */
uint32
chunk_count_units(const ChunkText *text, uint32 from, uint32 to)
{
	uint32		n = 0;

	if (text->unit == CHUNK_BYTES)
		return to - from;
	if (text->unit == CHUNK_CHARS)
		return chunk_count_chars(text, from, to);
	for (uint32 pos = from; pos < to; pos++)
	{
		if (!chunk_is_blank(text->data[pos]) && (pos == from || chunk_is_blank(text->data[pos - 1])))
			n++;
	}
	return n;
}

/* The first place from pos on that is not blank, or to */
uint32
chunk_skip_blanks(const ChunkText *text, uint32 pos, uint32 to)
{
	while (pos < to && chunk_is_blank(text->data[pos]))
		pos++;
	return pos;
}

/* The end of what stands before to without the blanks at its end */
uint32
chunk_trim(const ChunkText *text, uint32 from, uint32 to)
{
	while (to > from && chunk_is_blank(text->data[to - 1]))
		to--;
	return to;
}

static bool
is_at(const ChunkText *text, uint32 pos, const char *string)
{
	size_t		size = strlen(string);

	return size <= text->size - pos && memcmp(text->data + pos, string, size) == 0;
}

/* Does one of these, of three bytes each, end before pos? */
static inline bool
ends_with_one_of(const ChunkText *text, uint32 pos, const char *const *strings)
{
	if (pos < 3 || !IS_HIGHBIT_SET(text->data[pos - 1]) || text->encoding != PG_UTF8)
		return false;
	for (; *strings != NULL; strings++)
	{
		if (is_at(text, pos - 3, *strings))
			return true;
	}
	return false;
}

/* Full stop, exclamation and question mark of Chinese and Japanese: no blank follows. */
static bool
ends_wide_sentence(const ChunkText *text, uint32 pos)
{
	static const char *const marks[] = {"\343\200\202", "\357\274\201", "\357\274\237", NULL};

	return ends_with_one_of(text, pos, marks);
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || IS_HIGHBIT_SET(c);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A full stop behind a single letter ("J.", "e.g.") or a line's number ends no sentence. */
static bool
stop_ends_sentence(const ChunkText *text, uint32 stop)
{
	const char *data = text->data;
	uint32		start = stop;

	if (stop == 0)
		return false;
	if (is_letter(data[stop - 1]) &&
		(stop == 1 || !(is_letter(data[stop - 2]) || is_digit(data[stop - 2]))))
		return false;
	while (start > 0 && stop - start < 4 && is_digit(data[start - 1]))
		start--;
	return start == stop || !(start == 0 || data[start - 1] == '\n');
}

/* Brackets, quotation marks and emphasis that may stand behind a full stop */
static bool
closes(char c)
{
	switch (c)
	{
		case ')':
		case ']':
		case '}':
		case '"':
		case '\'':
		case '*':
		case '_':
		case '`':
			return true;
		default:
			return false;
	}
}

/* Does a sentence end before the blanks between end and next? */
static bool
ends_sentence(const ChunkText *text, uint32 end, uint32 next)
{
	static const char *const quotes[] = {"\342\200\235", "\342\200\231", "\342\200\272", NULL};
	static const char *const ellipsis[] = {"\342\200\246", NULL};
	const char *data = text->data;

	/* closing brackets, quotation marks, emphasis; few of them */
	for (int i = 0; i < 4 && end > 0; i++)
	{
		if (closes(data[end - 1]))
			end--;
		else if (ends_with_one_of(text, end, quotes))
			end -= 3;
		else
			break;
	}
	if (ends_wide_sentence(text, end))
		return true;
	if (end == 0 || (data[next] >= 'a' && data[next] <= 'z'))
		return false;
	switch (data[end - 1])
	{
		case '!':
		case '?':
			return true;
		case '.':
			return stop_ends_sentence(text, end - 1);
		default:
			return ends_with_one_of(text, end, ellipsis);
	}
}

/* Does an item of a list, a heading, a quotation or a table's row begin at pos? */
static bool
starts_item(const ChunkText *text, uint32 pos)
{
	uint32		after = pos;

	switch (text->data[pos])
	{
		case '#':
		case '|':
		case '>':
		case '`':
			return true;
		case '-':
		case '*':
		case '+':
			return pos + 1 < text->size && text->data[pos + 1] == ' ';
	}
	while (after < text->size && after - pos < 4 && is_digit(text->data[after]))
		after++;
	return after > pos && after + 1 < text->size &&
		(text->data[after] == '.' || text->data[after] == ')') && text->data[after + 1] == ' ';
}

/* The level of the boundary behind the blanks from "blanks" to pos */
static ChunkLevel
level_after_blanks(const ChunkText *text, uint32 blanks, uint32 pos)
{
	const char *data = text->data;
	int			lines = 0;
	bool		ends;

	for (uint32 i = blanks; i < pos; i++)
	{
		if (data[i] == '\n' || (data[i] == '\r' && data[i + 1] != '\n'))
			lines++;
		else if (data[i] == '\f')
			lines = 2;
		if (lines >= 2)
			return CHUNK_PARAGRAPH;
	}
	ends = ends_sentence(text, blanks, pos);
	if (lines == 1)
		return ends || starts_item(text, pos) ? CHUNK_ITEM : CHUNK_LINE;
	return ends ? CHUNK_SENTENCE : CHUNK_WORD;
}

/*
 * Move a place back over at least so many units, but not beyond "least", to a
 * character that is not blank.  False, and nothing is moved, where characters
 * are not told from behind or units are not counted so.
 */
bool
chunk_step_back(const ChunkText *text, uint32 units, uint32 least, ChunkBoundary *place)
{
	if (text->unit == CHUNK_WORDS || (text->max_char > 1 && text->encoding != PG_UTF8))
		return false;
	if (place->pos - least >= units && chunk_is_ascii(text, place->pos - units, place->pos))
	{
		place->pos -= units;
		place->unit -= units;
		units = 0;
	}
	while (place->pos > least && (units > 0 || chunk_is_blank(text->data[place->pos])))
	{
		uint32		from = place->pos--;

		while (text->max_char > 1 && place->pos > least &&
			   ((unsigned char) text->data[place->pos] & 0xc0) == 0x80)
			place->pos--;
		place->unit -= text->unit == CHUNK_CHARS ? 1 : from - place->pos;
		units -= Min(units, 1);
	}
	return true;
}

/*
 * Begin to look for boundaries behind "from" and before "to", which is the end
 * of the text or a place where text begins.
 */
void
chunk_scan_start(ChunkScan *scan, const ChunkText *text, const ChunkBoundary *from,
				 uint32 to, ChunkLevel least)
{
	int			low = 0;
	int			high = text->nblocks;

	scan->text = text;
	scan->pos = from->pos;
	scan->unit = scan->end = from->unit;
	scan->to = to;
	scan->checked = from->pos;
	scan->least = text->unit == CHUNK_WORDS ? Max(least, CHUNK_WORD) : least;
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (text->blocks[middle].end <= from->pos)
			low = middle + 1;
		else
			high = middle;
	}
	scan->block = low;
}

/* Blocks that are not cut have no boundaries inside, others those of their lines. */
static bool
allowed_by_block(ChunkScan *scan, ChunkLevel *level)
{
	const ChunkText *text = scan->text;
	const ChunkBlock *block;

	while (scan->block < text->nblocks && text->blocks[scan->block].end <= scan->pos)
		scan->block++;
	if (scan->block == text->nblocks)
		return true;
	block = &text->blocks[scan->block];
	if (scan->pos < block->start)
		return true;
	if (scan->pos == block->start)
		*level = Max(*level, CHUNK_ITEM);
	else if (block->whole)
		return false;
	else if (*level == CHUNK_SENTENCE)
		*level = CHUNK_WORD;
	return true;
}

/*
 * Over a character, or over all up to the next place that may be a boundary of
 * the levels that are looked for.
 */
static inline void
step_in_word(ChunkScan *scan)
{
	const ChunkText *text = scan->text;
	const char *data = text->data;
	uint32		before = scan->pos;
	uint32		stop = Min(scan->to, before + SCAN_STRIDE);
	uint32		pos = before;

	if (text->unit == CHUNK_WORDS)
	{
		if (before == 0 || chunk_is_blank(data[before - 1]))
			scan->unit++;
		while (pos < stop && !chunk_is_blank(data[pos]))
			pos++;
	}
	else if (IS_HIGHBIT_SET(data[pos]) || scan->least == CHUNK_CHAR)
	{
		pos += chunk_char_size(text, pos);
		scan->unit += text->unit == CHUNK_CHARS ? 1 : pos - before;
	}
	else
	{
		while (pos < stop && !chunk_is_blank(data[pos]) && !IS_HIGHBIT_SET(data[pos]))
			pos++;
		scan->unit += pos - before;
	}
	scan->pos = pos;
	scan->end = scan->unit;
}

/*
 * Bytes that say nothing of where lines and sentences end, as long as no more
 * than spaces follow: all of ASCII but blanks, what ends a sentence or closes
 * one, and, of course, the space itself.
 */
static const bool plain[256] = {
	[' '] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['('] = true, ['+'] = true,
	[','] = true, ['-'] = true, ['/'] = true, ['0' ... '9'] = true, [':'] = true, [';'] = true,
	['<'] = true, ['='] = true, ['>'] = true, ['@'] = true, ['A' ... 'Z'] = true, ['['] = true,
	['\\'] = true, ['^'] = true, ['a' ... 'z'] = true, ['{'] = true, ['|'] = true, ['~'] = true
};

/*
 * How many of the 16 bytes at "from" stand before the first that may matter to
 * lines and sentences: the end of a line, a byte that is not ASCII, or a blank
 * behind what may end a sentence.  (That is, for few comparisons, any sign but
 * letters, digits, commas and some more.)
 */
static inline int
count_dull_bytes(const char *from)
{
	Bytes		c = load_bytes(from);
	Bytes		last = load_bytes(from - 1);
	Bytes		ends = (Bytes) (c == '\n') | (Bytes) (c == '\f') | (Bytes) (c == '\r') | (Bytes) (c > 0x7f);
	Bytes		blank = (Bytes) (c == ' ') | (Bytes) (c - '\t' <= '\r' - '\t');
	Bytes		sign = ((Bytes) (last - '!' <= '/' - '!') & (Bytes) (last != ',')) | (Bytes) (last == '?') |
		(Bytes) (last - '[' <= '`' - '[') | (Bytes) (last > 'z');
	Bytes		found = ends | (blank & sign);
	uint64		half[2];

	memcpy(half, &found, sizeof(half));
	if ((half[0] | half[1]) == 0)
		return sizeof(Bytes);
#ifdef WORDS_BIGENDIAN
	for (int i = 0; i < sizeof(Bytes); i++)
	{
		if (found[i] != 0)
			return i;
	}
#endif
	return half[0] != 0 ? pg_rightmost_one_pos64(half[0]) / 8 : 8 + pg_rightmost_one_pos64(half[1]) / 8;
}

/*
 * From a byte of ASCII that is not blank to the end of the last word before a
 * place that may matter: in between, no boundary is stronger than that of a word.
 */
static inline void
skip_dull(ChunkScan *scan)
{
	const char *data = scan->text->data;
	uint32		before = scan->pos;
	uint32		stop = Min(scan->to, before + SCAN_STRIDE);
	uint32		pos = before + 1;
	int			n = sizeof(Bytes);

	while (n == sizeof(Bytes) && stop - pos >= sizeof(Bytes))
	{
		n = count_dull_bytes(data + pos);
		pos += n;
	}
	if (n == sizeof(Bytes))
	{
		while (pos < stop && plain[(unsigned char) data[pos]] &&
			   (data[pos] != ' ' || plain[(unsigned char) data[pos - 1]]))
			pos++;
	}
	while (chunk_is_blank(data[pos - 1]))
		pos--;
	scan->pos = pos;
	scan->unit += pos - before;
	scan->end = scan->unit;
}

/* The next boundary, without its rank; false if there is none. */
bool
chunk_scan_next(ChunkScan *scan, ChunkBoundary *boundary)
{
	const ChunkText *text = scan->text;
	const char *data = text->data;

	while (scan->pos < scan->to)
	{
		uint32		before = scan->pos;
		ChunkLevel	level = CHUNK_CHAR;

		if (before - scan->checked >= SCAN_STRIDE)
		{
			CHECK_FOR_INTERRUPTS();
			scan->checked = before;
		}
		if (chunk_is_blank(data[before]))
		{
			scan->end = scan->unit;
			scan->pos = chunk_skip_blanks(text, before, scan->to);
			if (text->unit != CHUNK_WORDS)
				scan->unit += scan->pos - before;
			if (scan->pos < scan->to)
				level = level_after_blanks(text, before, scan->pos);
		}
		else
		{
			if (scan->least > CHUNK_WORD && text->unit != CHUNK_WORDS && !IS_HIGHBIT_SET(data[before]))
				skip_dull(scan);
			else
				step_in_word(scan);
			if (scan->pos >= scan->to || chunk_is_blank(data[scan->pos]))
				continue;
			if (IS_HIGHBIT_SET(data[scan->pos - 1]) && text->unit != CHUNK_WORDS &&
				ends_wide_sentence(text, scan->pos))
				level = CHUNK_SENTENCE;
		}
		if (scan->pos < scan->to && level >= scan->least &&
			allowed_by_block(scan, &level) && level >= scan->least)
		{
			boundary->pos = scan->pos;
			boundary->unit = scan->unit;
			boundary->end = scan->end;
			boundary->level = level;
			return true;
		}
	}
	return false;
}

/* The end of the scan as a boundary, once there is no further one. */
void
chunk_scan_to_end(ChunkScan *scan, ChunkBoundary *end)
{
	end->pos = scan->to;
	end->unit = scan->unit;
	end->end = scan->end;
	end->level = CHUNK_PARAGRAPH;
	end->rank = 0;
}

/*
 * Is this boundary inside a word one of the few that are looked at?  Which
 * these are, a hash of the text behind it tells.
 */
bool
chunk_is_candidate(const ChunkText *text, const ChunkBoundary *boundary)
{
	uint64		after = 0;

	if (text->size - boundary->pos >= sizeof(after))
		memcpy(&after, text->data + boundary->pos, sizeof(after));
	return (after * UINT64CONST(0x9E3779B97F4A7C15)) >> 60 == 0;
}

/*
 * The order in which boundaries are taken: first by level, then by a hash of
 * the text around.  The hash makes the choice among boundaries of one level
 * the same wherever the text moves.
 */
uint32
chunk_rank(const ChunkText *text, const ChunkBoundary *boundary)
{
	uint64		around[2 * RANK_CONTEXT / sizeof(uint64)] = {0};
	uint32		before = Min(boundary->pos, RANK_CONTEXT);
	uint32		after = Min(text->size - boundary->pos, RANK_CONTEXT);
	uint64		hash = 0;

	if (before == RANK_CONTEXT && after == RANK_CONTEXT)
		memcpy(around, text->data + boundary->pos - RANK_CONTEXT, sizeof(around));
	else
	{
		memcpy((char *) around + RANK_CONTEXT - before, text->data + boundary->pos - before, before);
		memcpy((char *) around + RANK_CONTEXT, text->data + boundary->pos, after);
	}
	for (int i = 0; i < lengthof(around); i++)
	{
		hash = (hash ^ around[i]) * UINT64CONST(0x9E3779B97F4A7C15);
		hash ^= hash >> 32;
	}
	return ((uint32) boundary->level << 28) | (uint32) (hash >> 36);
}

/* The place behind so many units from pos, or "to" if there are fewer; *units is what is missing then. */
static uint32
step_forward(const ChunkText *text, uint32 pos, uint32 to, uint32 *units)
{
	if (text->max_char == 1 || text->unit == CHUNK_BYTES)
	{
		uint32		n = Min(*units, to - pos);

		*units -= n;
		return pos + n;
	}
	while (*units > 0 && pos < to)
	{
		uint32		n = Min(*units, to - pos);

		n = Min(n, 8);
		if (!chunk_is_ascii(text, pos, pos + n))
			n = 1;
		pos += n == 1 ? chunk_char_size(text, pos) : n;
		*units -= n;
	}
	return pos;
}

/* chunk_exact() where any character may begin a piece, by steps over all that fits */
static ChunkBoundary
exact_by_steps(const ChunkText *text, const ChunkBoundary *from, uint32 units, uint32 to)
{
	ChunkBoundary next = {.level = CHUNK_CHAR};
	uint32		missing = units;
	uint32		pos = step_forward(text, from->pos, to, &missing);

	if (text->unit == CHUNK_BYTES && text->max_char > 1 && pos < to)
	{
		uint32		stop = pos;

		while (pos > from->pos && ((unsigned char) text->data[pos] & 0xc0) == 0x80)
			pos--;
		if (pos == from->pos)
			pos += chunk_char_size(text, pos);
		missing += stop - pos;
	}
	next.pos = chunk_skip_blanks(text, pos, to);
	next.unit = from->unit + (units - missing) + (next.pos - pos);
	next.end = next.unit - (next.pos - chunk_trim(text, from->pos, next.pos));
	return next;
}

/*
 * The boundary before which as many units stand behind "from" as there may be,
 * whatever is cut there; "to" if all of it is fewer.
 */
ChunkBoundary
chunk_exact(const ChunkText *text, const ChunkBoundary *from, uint32 units, uint32 to)
{
	ChunkScan	scan;
	ChunkBoundary next;
	ChunkBoundary last = *from;

	if (text->nblocks == 0 && text->unit != CHUNK_WORDS && (text->max_char == 1 || text->encoding == PG_UTF8))
		return exact_by_steps(text, from, units, to);
	chunk_scan_start(&scan, text, from, to, CHUNK_CHAR);
	while (chunk_scan_next(&scan, &next))
	{
		if (next.end - from->unit > units)
			return last.pos > from->pos ? last : next;
		last = next;
	}
	chunk_scan_to_end(&scan, &next);
	return next.end - from->unit > units && last.pos > from->pos ? last : next;
}
