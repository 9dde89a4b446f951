/*-------------------------------------------------------------------------
 *
 * check_codes.c
 *		Do a link's code and factors fit the two vectors?
 *
 * Codes are made of vectors that are more precise than the stored ones, or less: of
 * a new row itself, or of the int8 codes of a build.  So they are compared with what
 * the stored vectors give by what they tell a search: the direction of the neighbour
 * and its distance.  Links shorter than what the vectors are off by tell neither.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/check.h"

/*
 * A link is compared if it is so many times as long as the errors of both vectors, and
 * this share of the longest vector, of which int8 codes of a build are off by some
 * hundredths.
 */
#define ERRORS 4
#define SHARE 0.1

/*
 * How much longer than expected a link, and what an estimate begins with, may be.
 * Factors of a node share a scale, and those far from the others are cut off; so what
 * is too short proves nothing.
 */
#define MOST_LENGTH 3

/*
 * What a link must be told to be at least, as a share of its length, so that its
 * factors have not been cut off.  A smaller cut stays within the bound of a: the
 * lengths of vectors are at most 1 / SHARE times the link's.
 */
#define LEAST_LENGTH 0.85

/* Least product of code and link, as a share of the expected one */
#define LEAST_PRODUCT 0.25

/* Rounding of factors to binary16, with some room */
#define FACTOR_ROUNDING (1.0 / 256)

/*
 * What is wrong with the code of a link, whose target has been copied to check->other;
 * NULL if nothing is, or if nobody can tell.  "from" is a copy, too; "rotated" is what
 * its codes are made of.
 */
const char *
check_code(HnswCheck *check, const HnswNodeHeaderData *from, const float *rotated,
		   const HnswLink *link)
{
	const HnswIndex *index = check->index;
	const HnswLayout *layout = &index->layout;
	int			n = layout->out_dim;
	const float *mean = index->mean + layout->dim;
	const float *from_coded = HnswCodedPart(layout, rotated);
	const float *to;
	double		square;
	double		length;
	double		reach;
	double		expected;		/* of the product of code and link */
	double		product;		/* of code and "from" */
	double		wanted;			/* of factor a */

	hnsw_own_decode(index, check->other, check->vector);
	to = hnsw_rotated(index, check->vector);
	square = distance->l2sq(n, rotated, to);
	length = sqrt(square);
	reach = sqrt(Max(distance->normsq(n, rotated), distance->normsq(n, to)));
	if (!(length > ERRORS * ((double) from->error + check->other->error)) ||
		!(length > SHARE * check->longest_reach) || !(length * reach < FLT_MAX / 1024) ||
		!(square > FLT_MIN * 1024))
		return NULL;
	expected = code_expected_norm(&layout->code) *
		sqrt(distance->l2sq(layout->code.dims, from_coded, HnswCodedPart(layout, to)));
	if (!(expected > 0))
		return NULL;
	if (!(fabs(link->a) <= FLT_MAX && fabs(link->b) <= FLT_MAX))
		return "a link whose factors are no numbers";
	if (!(link->b <= 0) || -link->b * expected > 2 * square * MOST_LENGTH)
		return "a link of another length than its vectors tell";
	if (-link->b * expected < 2 * square * LEAST_LENGTH)
		return NULL;			/* cut off: before version 3, b alone */
	product = code_dot(&layout->code, link->code, from_coded);
	if (code_dot(&layout->code, link->code, HnswCodedPart(layout, to)) - product < LEAST_PRODUCT * expected)
		return "a code that leads away from its neighbour";
	/* At the node itself, a search shall be told the square of the length. */
	wanted = square - link->b * product;
	if (layout->space->lifted)
		wanted -= 2 * (distance->ip(n, rotated, to) - distance->normsq(n, rotated) +
					   distance->ip(n, mean, to) - distance->ip(n, mean, rotated));
	if (fabs(link->a) > fabs(wanted) &&
		fabs(link->a - wanted) > MOST_LENGTH * length * (length + (layout->space->lifted ? reach : 0)) +
		FACTOR_ROUNDING * (fabs(link->a) + fabs(link->b * product)))
		return "a link whose factors do not fit its code";
	return NULL;
}
