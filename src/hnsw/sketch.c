/*-------------------------------------------------------------------------
 *
 * sketch.c
 *		Sketches: what a few bytes tell of a row's key.
 *
 * A sketch is a RaBitQ code of one bit for each of the leading principal
 * components of the rows, randomly mixed, and two numbers.  With x the rotated
 * and centred vector, z its projection and f = |z|^2 / <c, z>, the key of a row is
 * about
 *
 *	|q - x|^2	=  |x|^2      - 2 f <c, z_q>  + a constant
 *	-2 <q, x>	= -2 <m, x>   - 2 f <c, z_q>  + a constant
 *
 * where m is the rotated mean, and a the term that does not depend on the query.
 * What the projection drops counts as equal for all rows: that is good enough to
 * choose the rows whose nodes are read, and keys come from these.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/value.h"

#include "utils/memutils.h"

/* The upper half of a float32: no worse than the estimates */
static uint16
shorten(float x)
{
	uint32		bits;

	memcpy(&bits, &x, sizeof(bits));
	return (uint16) ((bits + 0x8000) >> 16);
}

/* Have the projection of the index's sketches at hand. */
static void
open_projection(HnswIndex *index)
{
	MemoryContext old;

	if (index->sketches.dims != 0)
		return;
	old = MemoryContextSwitchTo(GetMemoryChunkContext(index));
	hnsw_projection_open(index, &index->sketch_name, &index->sketches);
	MemoryContextSwitchTo(old);
}

/* Make the sketch of a rotated and centred vector; "sketch" is in a HnswSketchRoom. */
void
hnsw_sketch_make(HnswIndex *index, const float *rotated, HnswSketchData *sketch)
{
	const HnswLayout *layout = &index->layout;
	const float zeros[HNSW_MAX_SKETCH_BITS] = {0};
	float		projected[HNSW_MAX_SKETCH_BITS];
	float		rsq;
	float		dot;
	float		a;
	float		factor;

	open_projection(index);
	projection_apply(&index->sketches, rotated, projected);
	factor = code_encode(&layout->sketch, layout->sketch.dims, zeros, projected, sketch->code,
						 &rsq, &dot);
	a = layout->space->lifted ?
		-2 * distance->ip(layout->out_dim, index->mean + layout->dim, rotated) :
		distance->normsq(layout->out_dim, rotated);
	/* What float32 cannot hold stays unknown. */
	if (!(fabsf(a) < HNSW_MAX_KEY && factor < HNSW_MAX_KEY))
		a = factor = 0;
	sketch->a = shorten(a);
	sketch->b = shorten(-2 * factor);
}

/* Prepare a query for sketches, in the current memory context. */
void
hnsw_sketch_query(HnswIndex *index, const HnswQuery *query, CodeQuery *code)
{
	const CodeShape *shape = &index->layout.sketch;
	float		projected[HNSW_MAX_SKETCH_BITS];

	open_projection(index);
	projection_apply(&index->sketches, query->rotated, projected);
	code->lut = palloc((Size) shape->units * 2 * 16);
	code_query_init(shape, projected, code);
}
