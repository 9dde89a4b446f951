/*-------------------------------------------------------------------------
 *
 * block.h
 *		Loops over the postings of a block, in which searches spend their time.
 *
 * One file per instruction set has the same functions.  All give the same bits:
 * scores do not depend on the processor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_BM25_BLOCK_H
#define PIRAMID_BM25_BLOCK_H

#include "c.h"

#include "bm25/impact.h"
#include "bm25/part.h"
#include "distance/distance.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_X86_BLOCKS
#endif

/*
 * Numbers are written and read in groups of so many: arrays have room up to the end of
 * the last group, what lies behind is not looked at.
 */
#define BLOCK_LANES 16

/* So many bytes behind packed numbers must be readable. */
#define BLOCK_SLACK 64

/* Wider numbers are left to scalar loops. */
#define BLOCK_MAX_BITS 24

/* Lengths of documents: an array of numbers of "width" bytes, 3 more readable behind */
typedef struct Bm25Lengths
{
	const char *bytes;
	int			width;
	uint32		first;			/* the document that has the first one */
} Bm25Lengths;

typedef struct Bm25BlockLoops
{
	/* Unpack n numbers, and add "plus" to each. */
	void		(*unpack) (const char *from, uint32 *numbers, int n, int bits, uint32 plus);

	/*
	 * Unpack gaps of at most BLOCK_MAX_BITS to documents, of which the first one is
	 * "start" and its gap.
	 */
	void		(*unpack_docs) (const char *from, uint32 *docs, int n, int bits, uint32 start);

	/* The first of ascending documents, from the at'th on, that is not below "doc"; or n */
	uint32		(*find) (const uint32 *docs, uint32 at, uint32 n, uint32 doc);

	/* The points of n postings. */
	void		(*points) (const Bm25Weight *weight, const Bm25Lengths *lengths, const uint32 *docs,
						   const uint32 *tfs, uint32 n, uint32 *points);

	/* The points of n impacts; "scaled" is not negative. */
	void		(*impacts) (float scaled, const uint32 *impacts, uint32 n, uint32 *points);

	/*
	 * Where in an array numbers are above "bar"; returns how many.  Only groups of
	 * BLOCK_LANES are looked at that are met.  "places" has room up to the end of a
	 * group, too.
	 */
	uint32		(*select) (const uint32 *numbers, const bool *met, int ngroups, uint32 bar,
						   uint32 *places);

	/*
	 * Which of ascending documents, from the at'th on, are in a set of bits whose first one
	 * stands for "base"; returns how many.  "places" has room up to the end of a group, too.
	 */
	uint32		(*match) (const uint32 *docs, uint32 at, uint32 n, uint32 base,
						  const uint32 *set, uint32 *places);

	/* Set numbers of groups that are met to zero; none is met any more. */
	void		(*clear) (uint32 *numbers, bool *met, int ngroups);
} Bm25BlockLoops;

extern const Bm25BlockLoops bm25_loops_scalar;
#ifdef HAVE_X86_BLOCKS
extern const Bm25BlockLoops bm25_loops_avx2;
extern const Bm25BlockLoops bm25_loops_avx512;
#endif

/* The loops of the instruction set that distances are computed with; piramid.simd */
static inline const Bm25BlockLoops *
bm25_loops(void)
{
#ifdef HAVE_X86_BLOCKS
	if (distance->level == SIMD_AVX512)
		return &bm25_loops_avx512;
	if (distance->level == SIMD_AVX2)
		return &bm25_loops_avx2;
#endif
	return &bm25_loops_scalar;
}

#endif							/* PIRAMID_BM25_BLOCK_H */
