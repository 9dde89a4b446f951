/*-------------------------------------------------------------------------
 *
 * markdown.c
 *		The parts of Markdown that matter for cutting: headings, tables and
 *		fenced blocks.
 *
 * One pass over the lines.  What it takes for a heading is what CommonMark
 * takes for one, but for headings inside lists and quotations, and for
 * underlined headings of several lines.
 *
 *-------------------------------------------------------------------------
 */
#include "chunk/chunk.h"

#include "miscadmin.h"

#define MAX_HEADING 6

/* The state of the pass */
typedef struct Reader
{
	ChunkText  *text;
	uint32		limit;			/* units of a chunk */
	int			allocated_blocks;
	int			allocated_sections;

	/* the line: its first character that is not blank, and its trimmed end */
	uint32		start;
	uint32		end;
	uint32		indent;

	/* the line before, if it is of a paragraph or a table */
	bool		has_previous;
	uint32		previous_start;
	uint32		previous_end;

	ChunkBlock	open;			/* the block that the line may belong to */
	bool		in_fence;
	bool		in_table;
	bool		in_matter;		/* the settings in front of the text */
	char		fence;			/* its character, and how often */
	uint32		fence_size;
	int			last[MAX_HEADING + 1];	/* the open section of each level, or -1 */
} Reader;

/* How often does c stand at pos, up to the line's end? */
static uint32
count_run(const Reader *r, uint32 pos, char c)
{
	uint32		n = 0;

	while (pos + n < r->end && r->text->data[pos + n] == c)
		n++;
	return n;
}

static bool
has_bar(const Reader *r, uint32 start, uint32 end)
{
	return memchr(r->text->data + start, '|', end - start) != NULL;
}

/* Make an array longer if it is full. */
static void *
make_room(void *array, int n, int *allocated, Size size)
{
	if (n < *allocated)
		return array;
	*allocated = Max(16, 2 * *allocated);
	if (array == NULL)
		return MemoryContextAllocHuge(CurrentMemoryContext, *allocated * size);
	return repalloc_huge(array, *allocated * size);
}

/* The open block ends where the last of its lines did. */
static void
close_block(Reader *r)
{
	ChunkText  *text = r->text;

	r->open.whole = chunk_count_units(text, r->open.start, r->open.end) <= r->limit;
	text->blocks = make_room(text->blocks, text->nblocks, &r->allocated_blocks, sizeof(ChunkBlock));
	text->blocks[text->nblocks++] = r->open;
	r->in_fence = r->in_table = r->in_matter = false;
}

static void
open_block(Reader *r, uint32 start, uint32 header)
{
	r->open.start = start;
	r->open.end = r->end;
	r->open.header = header;
}

static void
add_section(Reader *r, uint32 start, int level, uint32 title, uint32 title_end)
{
	ChunkText  *text = r->text;
	ChunkSection *section;

	text->sections = make_room(text->sections, text->nsections, &r->allocated_sections,
							   sizeof(ChunkSection));
	section = &text->sections[text->nsections];
	section->start = start;
	section->body = r->end;
	section->title = title;
	section->title_size = title_end - title;
	section->level = level;
	section->parent = -1;
	section->first_chunk = -1;
	section->has_text = true;
	if (level > 0)
	{
		for (int i = 1; i < level; i++)
		{
			if (r->last[i] >= 0)
				section->parent = r->last[i];
		}
		for (int i = level; i <= MAX_HEADING; i++)
			r->last[i] = -1;
		r->last[level] = text->nsections;
	}
	text->nsections++;
	r->has_previous = false;
}

/* "# Title", with or without further signs at its end */
static bool
read_heading(Reader *r)
{
	const char *data = r->text->data;
	uint32		level = count_run(r, r->start, '#');
	uint32		title = r->start + level;
	uint32		end = r->end;

	if (level < 1 || level > MAX_HEADING || (title < end && !chunk_is_blank(data[title])))
		return false;
	title = chunk_skip_blanks(r->text, title, end);
	while (end > title && data[end - 1] == '#')
		end--;
	if (end > title && end < r->end && !chunk_is_blank(data[end - 1]))
		end = r->end;			/* "# C#" */
	add_section(r, r->start, level, title, chunk_trim(r->text, title, end));
	return true;
}

/* A line of "=" or "-" below a paragraph's line */
static bool
read_underline(Reader *r)
{
	char		c = r->text->data[r->start];

	if ((c != '=' && c != '-') || !r->has_previous || r->end - r->start < 2 ||
		count_run(r, r->start, c) != r->end - r->start ||
		strchr("-*+>|#", r->text->data[r->previous_start]) != NULL)
		return false;
	add_section(r, r->previous_start, c == '=' ? 1 : 2, r->previous_start, r->previous_end);
	return true;
}

/* Does a fenced block begin here? */
static bool
read_fence(Reader *r)
{
	char		c = r->text->data[r->start];
	uint32		size;

	if (c != '`' && c != '~')
		return false;
	size = count_run(r, r->start, c);
	if (size < 3 ||
		(c == '`' && memchr(r->text->data + r->start + size, '`', r->end - r->start - size) != NULL))
		return false;
	r->fence = c;
	r->fence_size = size;
	r->in_fence = true;
	open_block(r, r->start, 0);
	return true;
}

/* The line between a table's first row and the others: only bars, colons, dashes */
static bool
read_table(Reader *r)
{
	if (!r->has_previous || !has_bar(r, r->start, r->end) ||
		!has_bar(r, r->previous_start, r->previous_end))
		return false;
	for (uint32 i = r->start; i < r->end; i++)
	{
		if (strchr("|:- \t", r->text->data[i]) == NULL || r->text->data[i] == '\0')
			return false;
	}
	if (memchr(r->text->data + r->start, '-', r->end - r->start) == NULL)
		return false;
	open_block(r, r->previous_start, r->previous_end - r->previous_start);
	r->in_table = true;
	return true;
}

/* A line of the open block, or the line behind it?  True in the first case. */
static bool
continue_block(Reader *r)
{
	bool		blank = r->start == r->end;
	uint32		run = blank ? 0 : count_run(r, r->start, r->in_fence ? r->fence : '-');
	bool		closes = !blank && r->start + run == r->end && r->indent < 4 &&
		run >= (r->in_fence ? r->fence_size : 3);

	if (r->in_table && (blank || !has_bar(r, r->start, r->end)))
	{
		close_block(r);
		return false;
	}
	if (!blank)
		r->open.end = r->end;
	if (!r->in_table && closes)
		close_block(r);
	return true;
}

static void
read_line(Reader *r)
{
	bool		first = r->start < r->end && chunk_skip_blanks(r->text, 0, r->end) == r->start;

	if ((r->in_fence || r->in_table || r->in_matter) && continue_block(r))
	{
		r->has_previous = false;
		return;
	}
	if (r->start == r->end || (r->indent >= 4 && !r->has_previous))
	{
		r->has_previous = false;
		return;
	}
	if (first && r->start == 0 && r->end == 3 && count_run(r, 0, '-') == 3)
	{
		r->in_matter = true;
		open_block(r, r->start, 0);
		return;
	}
	if (r->indent < 4)
	{
		if (read_fence(r))
		{
			r->has_previous = false;
			return;
		}
		if (read_heading(r) || read_underline(r) || read_table(r))
			return;
	}
	r->has_previous = true;
	r->previous_start = r->start;
	r->previous_end = r->end;
}

/* Does something stand between a heading and the next? */
static void
find_bodies(ChunkText *text)
{
	for (int i = 0; i < text->nsections; i++)
	{
		ChunkSection *section = &text->sections[i];
		uint32		to = i + 1 < text->nsections ? section[1].start : text->size;

		if (section->level == 0)
			section->has_text = section->start < to;
		else
			section->has_text = chunk_skip_blanks(text, section->body, to) < to;
	}
}

/*
 * Fill in the blocks and sections of a text of Markdown, for chunks of at most
 * limit units.  The first section begins where the text does.
 */
void
chunk_find_sections(ChunkText *text, uint32 limit)
{
	Reader		r = {.text = text, .limit = limit};
	uint32		begin = chunk_skip_blanks(text, 0, text->size);

	for (int i = 0; i <= MAX_HEADING; i++)
		r.last[i] = -1;
	r.start = r.end = begin;
	add_section(&r, begin, 0, begin, begin);
	for (uint32 line = 0; line < text->size;)
	{
		const char *newline = memchr(text->data + line, '\n', text->size - line);
		uint32		next = newline == NULL ? text->size : newline - text->data + 1;

		CHECK_FOR_INTERRUPTS();
		r.start = chunk_skip_blanks(text, line, next);
		r.end = chunk_trim(text, r.start, next);
		r.start = Min(r.start, r.end);
		r.indent = r.start - line;
		read_line(&r);
		line = next;
	}
	if (r.in_fence || r.in_table || r.in_matter)
		close_block(&r);

	/* Without text before the first heading there is no section of it. */
	if (text->nsections > 1 && text->sections[1].start == begin)
	{
		text->nsections--;
		memmove(text->sections, text->sections + 1, text->nsections * sizeof(ChunkSection));
		for (int i = 0; i < text->nsections; i++)
		{
			if (text->sections[i].parent >= 0)
				text->sections[i].parent--;
		}
	}
	find_bodies(text);
}
