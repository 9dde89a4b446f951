/*-------------------------------------------------------------------------
 *
 * build_projection.c
 *		Whether an index's codes are made of projected vectors, and these codes.
 *
 *-------------------------------------------------------------------------
 */
#include "hnsw/build.h"

#include "miscadmin.h"

/* Rows to judge a projection by (it is learned from the rest), and how few say nothing */
#define JUDGED_ROWS 512
#define MIN_ROWS 1000

/*
 * Shares of the rows' energy that a projection must keep, with 2 bits for
 * each coordinate and with 1: see README, "Projection".
 */
#define MIN_SHARE_2 0.87
#define MIN_SHARE_1 0.80

/*
 * Links are differences of near rows, which need not lie where the rows differ
 * most: the share of their energy that must be kept, and how many are looked at
 */
#define MIN_LOCAL_SHARE 0.70
#define COMPARED_ROWS 128

/*
 * Share of the energy of rows, int8 each, that a projection keeps.  Notes the
 * range of the projected coordinates, too.
 */
static double
kept_share(Projection *projection, int nrows, const int8 *rows)
{
	int			stride = projection_stride(projection->width);
	int			dims = projection->dims;
	int32	   *scores = palloc(sizeof(int32) * nrows * dims);
	double		kept = 0;
	double		all = 0;
	int32		largest = 1;

	projection_apply_rows(projection, nrows, rows, stride, scores);
	for (Size i = 0; i < (Size) nrows * dims; i++)
	{
		kept += (double) scores[i] * scores[i];
		largest = Max(largest, abs(scores[i]));
	}
	projection->range = largest * projection->step;
	for (int i = 0; i < nrows; i++)
	{
		const int8 *row = rows + (Size) i * stride;

		all += distance->i8_dot(stride, row, row);
	}
	pfree(scores);
	return all > 0 ? kept * projection->step * projection->step / all : 0;
}

/*
 * The differences of n rows from their nearest ones among "nothers" that follow
 * them: that is what links are like.
 */
static int8 *
nearest_differences(int n, int nothers, int stride, const int8 *rows)
{
	const int8 *others = rows + (Size) n * stride;
	int8	   *differences = palloc((Size) n * stride);

	for (int i = 0; i < n; i++)
	{
		const int8 *row = rows + (Size) i * stride;
		const int8 *nearest = others;
		int32		nearest_dist = PG_INT32_MAX;

		for (int j = 0; j < nothers; j++)
		{
			int32		dist = distance->i8_l2sq(stride, row, others + (Size) j * stride);

			if (dist < nearest_dist && dist > 0)
			{
				nearest = others + (Size) j * stride;
				nearest_dist = dist;
			}
		}
		for (int j = 0; j < stride; j++)
			differences[(Size) i * stride + j] = Max(Min(row[j] - nearest[j], 127), -127);
	}
	return differences;
}

/*
 * Decide the layout of an index from rows of the table, as int8 of the centred,
 * rotated vectors (projection_stride(out_dim) bytes apart, in random order).  Returns
 * the projection for its codes, or NULL if they do without; *layout is made to
 * suit.
 */
Projection *
build_learn_projection(HnswLayout *layout, const HnswLayoutRequest *request, int nrows,
					   int8 *rows, uint64 seed)
{
	/* Where codes are short in any case, a projection cannot harm. */
	double		min_share[] = {0, request->compact ? 0 : MIN_SHARE_1, MIN_SHARE_2};
	HnswLayoutRequest shape = *request;
	int			width;
	int			judged = Min(JUDGED_ROWS, nrows / 5);
	int			learned = nrows - judged;
	int			compared = Min(COMPARED_ROWS, judged);
	double		min_local = request->compact ? 0 : MIN_LOCAL_SHARE;
	Projection *projection = palloc(sizeof(Projection));
	int8	   *differences;

	shape.projected = true;
	hnsw_layout_choose(layout, &shape);
	width = layout->out_dim;
	differences = nearest_differences(compared, nrows - compared, projection_stride(width), rows);
	for (int bits = 2; bits >= 1 && nrows >= MIN_ROWS && layout->projected; bits--)
	{
		int8	   *matrix;
		void	   *room;

		hnsw_layout_set_code_bits(layout, bits);
		if (layout->code.dims >= width)
			break;
		matrix = palloc(projection_size(layout->code.dims, width));
		room = palloc_extended(projection_work_size(layout->code.dims, width, learned),
							   MCXT_ALLOC_HUGE);
		projection_learn(projection, layout->code.dims, width,
						 (ByteRows) {learned, rows + (Size) judged * projection_stride(width),
						 projection_stride(width)}, seed, matrix, room);
		pfree(room);
		if (projection->step > 0 &&
			kept_share(projection, compared, differences) >= min_local &&
			kept_share(projection, judged, rows) >= min_share[bits])
		{
			pfree(differences);
			return projection;
		}
		pfree(matrix);
	}
	pfree(differences);
	pfree(projection);
	shape.projected = false;
	hnsw_layout_choose(layout, &shape);
	return NULL;
}

/* The projection for sketches, from such rows; NULL if they are too few or all alike. */
Projection *
build_learn_sketches(const HnswLayout *layout, int nrows, const int8 *rows, uint64 seed)
{
	int			dims = Min(HNSW_MAX_SKETCH_BITS, layout->out_dim);
	int			stride = projection_stride(layout->out_dim);
	Projection *projection = palloc(sizeof(Projection));
	int8	   *matrix;
	void	   *room;

	if (!hnsw_layout_sketchable(layout) || nrows < MIN_ROWS)
		return NULL;
	matrix = palloc(projection_size(dims, layout->out_dim));
	room = palloc_extended(projection_work_size(dims, layout->out_dim, nrows), MCXT_ALLOC_HUGE);
	projection_learn(projection, dims, layout->out_dim,
					 (ByteRows) {nrows, unconstify(int8 *, rows), stride}, seed, matrix, room);
	pfree(room);
	projection->range = 1;		/* of no use here */
	return projection->step > 0 ? projection : NULL;
}

/*
 * Project rows of a build, int8 codes stride bytes apart in units of "step",
 * to int8 codes in units of projection_range_step().
 */
void
build_project_codes(const Projection *projection, int nrows, const int8 *rows, int stride,
					float step, int8 *out)
{
	int32	   *scores = palloc(sizeof(int32) * nrows * projection->dims);
	float		factor = step * projection->step / projection_range_step(projection);

	projection_apply_rows(projection, nrows, rows, stride, scores);
	for (int i = 0; i < nrows * projection->dims; i++)
		out[i] = (int8) rintf(Min(Max(scores[i] * factor, -127.0f), 127.0f));
	pfree(scores);
}
