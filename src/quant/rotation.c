/*-------------------------------------------------------------------------
 *
 * rotation.c
 *		Fast random rotation by sign flips and Hadamard transforms.
 *
 * A Hadamard transform needs a power of two.  Where out_dim is none, each
 * round transforms the largest power of two, alternately at the head and at
 * the tail, so that all coordinates mix after four rounds.
 *
 *-------------------------------------------------------------------------
 */
#include "c.h"

#include <math.h>

#include "quant/quant.h"

#define ROTATION_MIN_DIM 64

/*
 * Length of the rotated vectors for an input of dim coordinates.  Very short
 * vectors are spread over 64 coordinates: a code of a few bits would say too
 * little about them.
 */
int
rotation_out_dim(int dim)
{
	return Max(ROTATION_MIN_DIM, (dim + 31) / 32 * 32);
}

Size
rotation_signs_size(int out_dim)
{
	return sizeof(float) * ROTATION_ROUNDS * out_dim;
}

/*
 * Fill in a rotation whose signs were made before.
 */
void
rotation_init_copy(Rotation *rotation, int dim, float *signs)
{
	int			out_dim = rotation_out_dim(dim);
	int			block = 1;

	while (block * 2 <= out_dim)
		block *= 2;
	rotation->dim = dim;
	rotation->out_dim = out_dim;
	rotation->block = block;
	rotation->rounds = (block == out_dim) ? 3 : ROTATION_ROUNDS;
	rotation->signs = signs;
}

/*
 * Fill in a rotation; signs is room for rotation_signs_size() bytes that
 * lives as long as the rotation.
 */
void
rotation_init(Rotation *rotation, int dim, uint64 seed, float *signs)
{
	float		unit;

	rotation_init_copy(rotation, dim, signs);
	unit = 1.0f / sqrtf((float) rotation->block);

	/* The transform's normalization is folded into the signs before it. */
	for (int round = 0; round < ROTATION_ROUNDS; round++)
	{
		int			start = (round % 2 == 0) ? 0 : rotation->out_dim - rotation->block;

		for (int i = 0; i < rotation->out_dim; i++)
		{
			float		size = (i >= start && i < start + rotation->block) ? unit : 1.0f;

			signs[round * rotation->out_dim + i] = (quant_random(&seed) >> 63) ? size : -size;
		}
	}
}

/* Four floats, at any place: what all processors have registers for. */
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));

#ifdef __clang__
#define shuffle_four(v, a, b, c, d) __builtin_shufflevector(v, v, a, b, c, d)
#else
typedef int FourInts __attribute__((vector_size(16)));
#define shuffle_four(v, a, b, c, d) __builtin_shuffle(v, (FourInts) {a, b, c, d})
#endif

#define four(x, i) (*(Four *) ((x) + (i)))
#define swap_ones(v) shuffle_four(v, 1, 0, 3, 2)
#define swap_twos(v) shuffle_four(v, 2, 3, 0, 1)

/*
 * In-place Hadamard transform of n = 2^k >= 4 values, without normalization.
 * Two steps at a time, which halves the passes over memory.
 */
static void
hadamard(float *restrict x, int n)
{
	int			h = 1;

	for (int i = 0; i < n; i += 4)
	{
		Four		v = four(x, i);

		v = swap_ones(v) + v * (Four) {1, -1, 1, -1};
		four(x, i) = swap_twos(v) + v * (Four) {1, 1, -1, -1};
	}
	for (h = 4; h * 2 < n; h *= 4)
	{
		for (int i = 0; i < n; i += h * 4)
		{
			for (int j = i; j < i + h; j += 4)
			{
				Four		a = four(x, j) + four(x, j + h);
				Four		b = four(x, j) - four(x, j + h);
				Four		c = four(x, j + 2 * h) + four(x, j + 3 * h);
				Four		d = four(x, j + 2 * h) - four(x, j + 3 * h);

				four(x, j) = a + c;
				four(x, j + h) = b + d;
				four(x, j + 2 * h) = a - c;
				four(x, j + 3 * h) = b - d;
			}
		}
	}
	if (h < n)
	{
		for (int j = 0; j < h; j += 4)
		{
			Four		a = four(x, j);
			Four		b = four(x, j + h);

			four(x, j) = a + b;
			four(x, j + h) = a - b;
		}
	}
}

/* Rotate x (dim values) into out (out_dim values); they must not overlap. */
void
rotation_apply(const Rotation *rotation, const float *x, float *out)
{
	int			out_dim = rotation->out_dim;

	memcpy(out, x, sizeof(float) * rotation->dim);
	memset(out + rotation->dim, 0, sizeof(float) * (out_dim - rotation->dim));

	for (int round = 0; round < rotation->rounds; round++)
	{
		const float *signs = rotation->signs + round * out_dim;

		for (int i = 0; i < out_dim; i += 4)
			four(out, i) *= *(const Four *) (signs + i);
		hadamard((round % 2 == 0) ? out : out + out_dim - rotation->block,
				 rotation->block);
	}
}
