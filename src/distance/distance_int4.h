/*-------------------------------------------------------------------------
 *
 * distance_int4.h
 *		Kernels of 4-bit codes by those of int8, which the file that includes
 *		this one has defined: codes are unpacked into a buffer that stays in
 *		the first-level cache.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_DISTANCE_INT4_H
#define PIRAMID_DISTANCE_INT4_H

/* Coordinates unpacked at a time, a multiple of 32 */
#define I4_CHUNK 512

/* n coordinates as int8, n a multiple of 32. */
static inline void
i4_unpack(int n, const uint8 *restrict c, int8 *restrict out)
{
	for (int i = 0; i < n; i += 32, c += 16, out += 32)
	{
		for (int j = 0; j < 16; j++)
			out[j] = (int8) (2 * (c[j] & 15) - 15);
		for (int j = 0; j < 16; j++)
			out[16 + j] = (int8) (2 * (c[j] >> 4) - 15);
	}
}

static float
i4_ip(int dim, const float *q, const uint8 *c)
{
	int8		unpacked[I4_CHUNK];
	float		sum = 0;

	for (int i = 0; i < dim; i += I4_CHUNK)
	{
		int			n = Min(I4_CHUNK, dim - i);

		i4_unpack(n, c + i / 2, unpacked);
		sum += i8_ip(n, q + i, unpacked);
	}
	return sum;
}

static void
i4_to_float(int n, const uint8 *c, float scale, float *f)
{
	int8		unpacked[I4_CHUNK];

	for (int i = 0; i < n; i += I4_CHUNK)
	{
		int			m = Min(I4_CHUNK, n - i);

		i4_unpack(m, c + i / 2, unpacked);
		i8_to_float(m, unpacked, scale, f + i);
	}
}

#endif							/* PIRAMID_DISTANCE_INT4_H */
