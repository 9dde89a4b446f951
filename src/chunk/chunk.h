/*-------------------------------------------------------------------------
 *
 * chunk.h
 *		Cutting a text into chunks.
 *
 * A boundary is a place where a text may be cut: a character that begins
 * something, with the blanks in front of it.  Positions are offsets in bytes;
 * sizes are counted in units, which the caller chooses.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_CHUNK_H
#define PIRAMID_CHUNK_H

#include "compat.h"

typedef enum ChunkUnit
{
	CHUNK_CHARS,
	CHUNK_WORDS,				/* what stands between blanks */
	CHUNK_BYTES
} ChunkUnit;

/* What a boundary ends, from the weakest to the strongest. */
typedef enum ChunkLevel
{
	CHUNK_CHAR,					/* inside a word */
	CHUNK_WORD,
	CHUNK_LINE,					/* a line, but not a sentence */
	CHUNK_SENTENCE,
	CHUNK_ITEM,					/* a line and a sentence, or before a list's item */
	CHUNK_PARAGRAPH
} ChunkLevel;

/* A part of the text that is cut only if it has to be: a table or a fenced block. */
typedef struct ChunkBlock
{
	uint32		start;			/* its first character that is not blank */
	uint32		end;			/* behind its last */
	uint32		header;			/* bytes of a table's first row, or 0 */
	bool		whole;			/* it fits into a chunk, so it is not cut */
} ChunkBlock;

/* A heading of Markdown, and what belongs to it. */
typedef struct ChunkSection
{
	uint32		start;
	uint32		body;			/* behind the heading */
	uint32		title;			/* where the heading's text begins */
	uint32		title_size;
	int			level;			/* 1 to 6; 0 for what stands before the first heading */
	int			parent;			/* the section around it, or -1 */
	int			first_chunk;	/* where its heading is, or -1 */
	bool		has_text;		/* something stands below the heading */
} ChunkSection;

typedef struct ChunkText
{
	const char *data;
	uint32		size;
	ChunkUnit	unit;
	int			encoding;		/* the database's */
	int			max_char;		/* bytes of its longest character */
	ChunkBlock *blocks;			/* in order */
	int			nblocks;
	ChunkSection *sections;		/* in order */
	int			nsections;
} ChunkText;

typedef struct ChunkBoundary
{
	uint32		pos;			/* where text begins again */
	uint32		unit;			/* units before pos */
	uint32		end;			/* units before the blanks in front of pos */
	ChunkLevel	level;
	uint32		rank;			/* the level, then a hash of what stands around */
} ChunkBoundary;

/* A scan over the boundaries between two places. */
typedef struct ChunkScan
{
	const ChunkText *text;
	uint32		pos;			/* where it stands */
	uint32		unit;			/* units before pos */
	uint32		end;			/* units before the blanks in front of pos */
	uint32		to;				/* where it ends */
	uint32		checked;		/* where it last looked for a cancel */
	int			block;			/* the first block that does not end before pos */
	ChunkLevel	least;			/* weaker boundaries are left out */
} ChunkScan;

/* A piece of the text, without the overlap with the one before */
typedef struct ChunkCore
{
	uint32		pos;
	uint32		unit;			/* units before pos */
	int			section;		/* -1 without sections */
} ChunkCore;

typedef struct ChunkCores
{
	ChunkCore  *core;
	int			n;
	int			allocated;
} ChunkCores;

static inline bool
chunk_is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* functions in boundary.c */
extern uint32 chunk_char_size(const ChunkText *text, uint32 pos);
extern uint32 chunk_count_chars(const ChunkText *text, uint32 from, uint32 to);
extern bool chunk_is_ascii(const ChunkText *text, uint32 from, uint32 to);
extern uint32 chunk_count_units(const ChunkText *text, uint32 from, uint32 to);
extern uint32 chunk_skip_blanks(const ChunkText *text, uint32 pos, uint32 to);
extern uint32 chunk_trim(const ChunkText *text, uint32 from, uint32 to);
extern bool chunk_step_back(const ChunkText *text, uint32 units, uint32 least,
							ChunkBoundary *place);
extern void chunk_scan_start(ChunkScan *scan, const ChunkText *text,
							 const ChunkBoundary *from, uint32 to, ChunkLevel least);
extern bool chunk_scan_next(ChunkScan *scan, ChunkBoundary *boundary);
extern void chunk_scan_to_end(ChunkScan *scan, ChunkBoundary *end);
extern bool chunk_is_candidate(const ChunkText *text, const ChunkBoundary *boundary);
extern uint32 chunk_rank(const ChunkText *text, const ChunkBoundary *boundary);
extern ChunkBoundary chunk_exact(const ChunkText *text, const ChunkBoundary *from,
								 uint32 units, uint32 to);

/* functions in markdown.c */
extern void chunk_find_sections(ChunkText *text, uint32 limit);

/* functions in split.c */
extern void chunk_split(const ChunkText *text, const ChunkBoundary *from, uint32 to,
						uint32 limit, int section, ChunkCores *cores);
extern void chunk_split_sentences(const ChunkText *text, const ChunkBoundary *from,
								  uint32 to, uint32 limit, ChunkCores *cores);
extern void chunk_split_fixed(const ChunkText *text, const ChunkBoundary *from,
							  uint32 to, uint32 first, uint32 limit, ChunkCores *cores);

#endif							/* PIRAMID_CHUNK_H */
