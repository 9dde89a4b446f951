/*-------------------------------------------------------------------------
 *
 * test_distance_float.c
 *		Kernels with a float result, of every level, against long double.
 *
 * The allowed error is the budget of src/distance/README.md: u = 2^-24 times
 * the sum of the terms' sizes times the number of roundings that one term can
 * go through.  Operands end right before a page that must not be touched.
 *
 *-------------------------------------------------------------------------
 */
#include "unit.h"
#include "distance/distance.h"

#include <float.h>
#include <math.h>

#define MAX_DIM 16000
#define LAST_LENGTH 1100

typedef enum Kernel
{
	L2SQ, IP, L1, NORMSQ, DOT_NORMS_DOT, DOT_NORMS_A, DOT_NORMS_B,
	HALF_L2SQ, HALF_IP, HALF_L1, I8_IP,
	HALVES_L2SQ, HALVES_IP, HALVES_L1,
	HALVES_DOT_NORMS_DOT, HALVES_DOT_NORMS_A, HALVES_DOT_NORMS_B,
	NUM_KERNELS
} Kernel;

static const char *const kernel_names[NUM_KERNELS] = {
	"l2sq", "ip", "l1", "normsq", "dot_norms dot", "dot_norms a", "dot_norms b",
	"half_l2sq", "half_ip", "half_l1", "i8_ip",
	"halves_l2sq", "halves_ip", "halves_l1",
	"halves_dot_norms dot", "halves_dot_norms a", "halves_dot_norms b"
};

static Guarded a_memory;
static Guarded b_memory;
static Guarded g_memory;
static Guarded h_memory;
static Guarded c_memory;

/* Operands of one call; pointers of any alignment, so copy in and out. */
typedef struct Operands
{
	int			dim;
	float		scale;
	float	   *a;
	float	   *b;
	half	   *g;				/* a as halves, kept finite */
	half	   *h;				/* b as halves */
	int8	   *c;
} Operands;

static float
get_float(const float *p, int i)
{
	float		f;

	memcpy(&f, (const char *) p + sizeof(f) * i, sizeof(f));
	return f;
}

static void
set_float(float *p, int i, float f)
{
	memcpy((char *) p + sizeof(f) * i, &f, sizeof(f));
}

static half
get_half(const half *p, int i)
{
	half		h;

	memcpy(&h, (const char *) p + sizeof(h) * i, sizeof(h));
	return h;
}

static void
set_half(half *p, int i, half h)
{
	memcpy((char *) p + sizeof(h) * i, &h, sizeof(h));
}

static Operands
place(int dim, int slack)
{
	Operands	o;

	o.dim = dim;
	o.scale = 1;
	o.a = at_end(a_memory, sizeof(float) * dim, slack);
	o.b = at_end(b_memory, sizeof(float) * dim, slack);
	o.g = at_end(g_memory, sizeof(half) * dim, slack);
	o.h = at_end(h_memory, sizeof(half) * dim, slack);
	o.c = at_end(c_memory, dim, slack);
	return o;
}

static float
call(const DistanceKernels *k, Kernel kernel, const Operands *o)
{
	float		sums[3];

	switch (kernel)
	{
		case L2SQ:
			return k->l2sq(o->dim, o->a, o->b);
		case IP:
			return k->ip(o->dim, o->a, o->b);
		case L1:
			return k->l1(o->dim, o->a, o->b);
		case NORMSQ:
			return k->normsq(o->dim, o->a);
		case HALF_L2SQ:
			return k->half_l2sq(o->dim, o->a, o->h, o->scale);
		case HALF_IP:
			return k->half_ip(o->dim, o->a, o->h);
		case HALF_L1:
			return k->half_l1(o->dim, o->a, o->h, o->scale);
		case I8_IP:
			return k->i8_ip(o->dim, o->a, o->c);
		case HALVES_L2SQ:
			return k->halves_l2sq(o->dim, o->g, o->h);
		case HALVES_IP:
			return k->halves_ip(o->dim, o->g, o->h);
		case HALVES_L1:
			return k->halves_l1(o->dim, o->g, o->h);
		case HALVES_DOT_NORMS_DOT:
		case HALVES_DOT_NORMS_A:
		case HALVES_DOT_NORMS_B:
			k->halves_dot_norms(o->dim, o->g, o->h, &sums[0], &sums[1], &sums[2]);
			return sums[kernel - HALVES_DOT_NORMS_DOT];
		default:
			k->dot_norms(o->dim, o->a, o->b, &sums[0], &sums[1], &sums[2]);
			return sums[kernel - DOT_NORMS_DOT];
	}
}

/*
 * Exact sums over the first "dim" elements, and the sums of sizes that errors
 * are relative to.
 */
static long double exact_sums[NUM_KERNELS][MAX_DIM + 1];
static long double size_sums[NUM_KERNELS][MAX_DIM + 1];

static void
compute_reference(Kernel kernel, const Operands *o)
{
	for (int i = 0; i < o->dim; i++)
	{
		long double a = get_float(o->a, i);
		long double b = get_float(o->b, i);
		long double g = half_to_float_one(get_half(o->g, i));
		long double h = half_to_float_one(get_half(o->h, i));
		long double term;
		long double size;

		switch (kernel)
		{
			case L2SQ:
				size = term = (a - b) * (a - b);
				break;
			case L1:
				size = term = fabsl(a - b);
				break;
			case NORMSQ:
			case DOT_NORMS_A:
				size = term = a * a;
				break;
			case DOT_NORMS_B:
				size = term = b * b;
				break;
			case HALF_L2SQ:
				h *= o->scale;
				term = (a - h) * (a - h);
				size = (fabsl(a) + fabsl(h)) * (fabsl(a) + fabsl(h));
				break;
			case HALF_L1:
				h *= o->scale;
				term = fabsl(a - h);
				size = fabsl(a) + fabsl(h);
				break;
			case HALVES_L2SQ:
				size = term = (g - h) * (g - h);
				break;
			case HALVES_L1:
				size = term = fabsl(g - h);
				break;
			case HALVES_IP:
			case HALVES_DOT_NORMS_DOT:
				term = g * h;
				size = fabsl(term);
				break;
			case HALVES_DOT_NORMS_A:
				size = term = g * g;
				break;
			case HALVES_DOT_NORMS_B:
				size = term = h * h;
				break;
			default:
				term = a * (kernel == HALF_IP ? h : kernel == I8_IP ? o->c[i] : b);
				size = fabsl(term);
		}
		exact_sums[kernel][i + 1] = exact_sums[kernel][i] + term;
		size_sums[kernel][i + 1] = size_sums[kernel][i] + size;
	}
}

static bool
within_budget(SimdLevel level, Kernel kernel, int dim, float result)
{
	long double exact = exact_sums[kernel][dim];
	long double size = size_sums[kernel][dim];
	long double roundings = level == SIMD_SCALAR ? dim + 4 : dim / 16 + 16;
	long double budget = ldexpl(roundings * size, -24) + ldexpl(dim, -149);

	if (size + budget > FLT_MAX)
	{
		bool		products = kernel == IP || kernel == DOT_NORMS_DOT ||
			kernel == HALF_IP || kernel == I8_IP ||
			kernel == HALVES_IP || kernel == HALVES_DOT_NORMS_DOT;

		/* With terms of both signs anything may happen on the way. */
		if (products && fabsl(exact) < size)
			return true;
		if (exact - budget > FLT_MAX)
			return result == INFINITY;
		if (exact + budget < -FLT_MAX)
			return result == -INFINITY;
		return true;
	}
	return fabsl(result - exact) <= budget;
}

/* Compare one kernel of all levels on one set of operands. */
static void
compare(Kernel kernel, const Operands *o, int failures[][NUM_KERNELS])
{
	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		const DistanceKernels *k = distance_kernels(level);
		float		result;

		if (k == NULL)
			continue;
		result = call(k, kernel, o);
		if (!within_budget(level, kernel, o->dim, result) &&
			failures[level][kernel]++ == 0)
			diag("%s %s, dim %d: %.9g instead of %.12Lg",
				 k->name, kernel_names[kernel], o->dim, result,
				 exact_sums[kernel][o->dim]);
	}
}

static void
report(int failures[][NUM_KERNELS], const char *what)
{
	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
		for (Kernel kernel = 0; kernel < NUM_KERNELS; kernel++)
			if (distance_has_level(level))
				ok(failures[level][kernel] == 0, "%s %s: %s",
				   distance_kernels(level)->name, kernel_names[kernel], what);
}

/* Operands of one range of values and one kind of shape, all lengths. */
typedef struct Range
{
	const char *what;
	float		a_low;
	float		a_high;
	float		b_low;
	float		b_high;
	float		scale;
} Range;

static void
fill(const Range *range, Operands *o)
{
	o->scale = range->scale;
	for (int i = 0; i < o->dim; i++)
	{
		float		a = random_float(range->a_low, range->a_high);
		float		b = random_float(range->b_low, range->b_high);

		set_float(o->a, i, a);
		set_float(o->b, i, b);
		set_half(o->g, i, float_to_half_one(Max(Min(a, 65504), -65504)));
		set_half(o->h, i, float_to_half_one(b));
		o->c[i] = random_int(-127, 127);
	}
}

/* The first "dim" elements of o, "slack" bytes before the end of the memory. */
static Operands
place_first(const Operands *o, int dim, int slack)
{
	Operands	part = place(dim, slack);

	part.scale = o->scale;
	memcpy(part.a, o->a, sizeof(float) * dim);
	memcpy(part.b, o->b, sizeof(float) * dim);
	memcpy(part.g, o->g, sizeof(half) * dim);
	memcpy(part.h, o->h, sizeof(half) * dim);
	memcpy(part.c, o->c, dim);
	return part;
}

static void
test_range(const Range *range)
{
	static float a[MAX_DIM];
	static float b[MAX_DIM];
	static half g[MAX_DIM];
	static half h[MAX_DIM];
	static int8 c[MAX_DIM];
	Operands	all = {.dim = MAX_DIM, .a = a, .b = b, .g = g, .h = h, .c = c};
	int			failures[SIMD_AVX512 + 1][NUM_KERNELS] = {0};

	fill(range, &all);
	for (Kernel kernel = 0; kernel < NUM_KERNELS; kernel++)
		compute_reference(kernel, &all);

	for (int length = 0; length <= LAST_LENGTH + 1; length++)
	{
		int			dim = length <= LAST_LENGTH ? length : MAX_DIM;

		for (int slack = 0; slack < 5; slack += 1 + length % 4)
		{
			Operands	o = place_first(&all, dim, slack);

			for (Kernel kernel = 0; kernel < NUM_KERNELS; kernel++)
				compare(kernel, &o, failures);
		}
	}
	report(failures, range->what);
}

static void
test_zero_length(void)
{
	Operands	o = place(0, 0);

	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
		for (Kernel kernel = 0; kernel < NUM_KERNELS; kernel++)
			if (distance_has_level(level))
				ok(call(distance_kernels(level), kernel, &o) == 0,
				   "%s %s: zero length gives zero",
				   distance_kernels(level)->name, kernel_names[kernel]);
}

typedef enum Special
{
	A_INFINITE,					/* infinity in a only */
	BOTH_INFINITE,				/* the same infinity in both */
	A_NAN,
	B_NAN
} Special;

/* What a kernel must give; anything else it gets is finite and positive. */
static bool
special_result_right(Kernel kernel, Special special, float result)
{
	bool		difference = kernel == L2SQ || kernel == L1 ||
		kernel == HALF_L2SQ || kernel == HALF_L1 ||
		kernel == HALVES_L2SQ || kernel == HALVES_L1;
	bool		b_matters = kernel != NORMSQ && kernel != DOT_NORMS_A &&
		kernel != I8_IP && kernel != HALVES_DOT_NORMS_A;
	bool		a_matters = kernel != DOT_NORMS_B && kernel != HALVES_DOT_NORMS_B;

	switch (special)
	{
		case A_INFINITE:
			return a_matters ? result == INFINITY : isfinite(result);
		case BOTH_INFINITE:
			return difference ? isnan(result) : result == INFINITY;
		case A_NAN:
			return a_matters ? isnan(result) : isfinite(result);
		default:
			return b_matters ? isnan(result) : isfinite(result);
	}
}

static void
test_special(Special special, const char *what)
{
	int			failures[SIMD_AVX512 + 1][NUM_KERNELS] = {0};
	float		value = special <= BOTH_INFINITE ? INFINITY : NAN;

	for (int dim = 1; dim <= 150; dim++)
		for (int at = 0; at < dim; at++)
		{
			Operands	o = place(dim, dim % 3);

			for (int i = 0; i < dim; i++)
			{
				bool		here = i == at;

				set_float(o.a, i, here && special != B_NAN ? value : 2);
				set_float(o.b, i, here && special != A_INFINITE && special != A_NAN ? value : 1);
				set_half(o.g, i, float_to_half_one(get_float(o.a, i)));
				set_half(o.h, i, float_to_half_one(get_float(o.b, i)));
				o.c[i] = 3;
			}
			for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
				for (Kernel kernel = 0; kernel < NUM_KERNELS; kernel++)
					if (distance_has_level(level) &&
						!special_result_right(kernel, special,
											  call(distance_kernels(level), kernel, &o)))
						failures[level][kernel]++;
		}
	report(failures, what);
}

/* The table that everybody calls through. */
static void
test_choice(void)
{
	SimdLevel	best = distance_best_level();

	ok(distance != NULL && distance->level == best,
	   "the best level, %s, is in use after loading", distance->name);
	ok(distance_has_level(SIMD_SCALAR), "scalar is everywhere");
	for (SimdLevel level = SIMD_SCALAR; level <= SIMD_AVX512; level++)
	{
		const DistanceKernels *before = distance;
		const DistanceKernels *k = distance_kernels(level);

		if (!distance_has_level(level))
		{
			ok(k == NULL && !distance_use_level(level) && distance == before,
			   "level %d is not here and cannot be used", level);
			continue;
		}
		ok(level <= best && k->level == level && distance_use_level(level) &&
		   distance == k, "level %s can be used", k->name);
	}
	ok(!distance_use_level((SimdLevel) 99), "an unknown level cannot be used");
	distance_use_level(best);
}

int
main(void)
{
	static const Range ranges[] = {
		{"around zero", -1, 1, -1, 1, 0.75f},
		{"close together", 1000, 1001, 1000, 1001, 1},
		{"scaled, large", -1e15f, 1e15f, -60000, 60000, 1e10f},
		{"largest halves", -65504, 65504, -65504, 65504, 1},
		{"subnormal halves", -6e-5f, 6e-5f, -6e-5f, 6e-5f, 1},
		{"subnormal", -1e-39f, 1e-39f, -1e-39f, 1e-39f, 1},
		{"products underflow", -1e-20f, 1e-20f, -1e-24f, 1e-24f, 1e-20f},
		{"sums overflow", 1e18f, 3e19f, -3e19f, -1e18f, 1e15f},
		{"differences overflow", 1e38f, 3e38f, -3e38f, -1e38f, 1e34f}
	};

	a_memory = guarded_alloc(sizeof(float) * MAX_DIM + 8);
	b_memory = guarded_alloc(sizeof(float) * MAX_DIM + 8);
	g_memory = guarded_alloc(sizeof(half) * MAX_DIM + 8);
	h_memory = guarded_alloc(sizeof(half) * MAX_DIM + 8);
	c_memory = guarded_alloc(MAX_DIM + 8);

	test_choice();
	test_zero_length();
	for (int i = 0; i < lengthof(ranges); i++)
		test_range(&ranges[i]);
	test_special(A_INFINITE, "an infinity anywhere");
	test_special(BOTH_INFINITE, "infinities that meet");
	test_special(A_NAN, "a NaN anywhere in the first operand");
	test_special(B_NAN, "a NaN anywhere in the second operand");
	return done_testing();
}
