/*-------------------------------------------------------------------------
 *
 * distance_choose.c
 *		Chooses the set of distance kernels for this machine.
 *
 * The probe runs once, when the library is loaded, before any kernel can be
 * called.  Its answers are kept: asking the processor again takes many
 * microseconds in a virtual machine.
 *
 *-------------------------------------------------------------------------
 */
#include "distance/distance_internal.h"

#ifdef HAVE_X86_KERNELS
#include <cpuid.h>
#endif

const DistanceKernels *distance = &distance_scalar;

/* What the probe found: the kernels of each level that can run here. */
static const DistanceKernels *available[SIMD_AVX512 + 1] = {&distance_scalar};

#ifdef HAVE_X86_KERNELS

/*
 * AMD's Zen 4 splits the conversion of 16 halves into more than twice the work
 * of 8, so that kernels which do little else are faster with AVX2 there.
 */
static const DistanceKernels *
choose_avx512(void)
{
	static DistanceKernels narrow_halves;

	if (!__builtin_cpu_is("amd"))
		return &distance_avx512;
	narrow_halves = distance_avx512;
	narrow_halves.half_l2sq = distance_avx2.half_l2sq;
	narrow_halves.half_l1 = distance_avx2.half_l1;
	narrow_halves.halves_l2sq = distance_avx2.halves_l2sq;
	narrow_halves.halves_ip = distance_avx2.halves_ip;
	narrow_halves.halves_l1 = distance_avx2.halves_l1;
	narrow_halves.halves_dot_norms = distance_avx2.halves_dot_norms;
	return &narrow_halves;
}

/*
 * __builtin_cpu_supports() also asks whether the operating system saves the
 * registers, but not every compiler lets it name F16C.
 */
static void
probe_x86(void)
{
	unsigned int eax,
				ebx,
				ecx,
				edx;

	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") ||
		!__builtin_cpu_supports("fma") ||
		!__get_cpuid(1, &eax, &ebx, &ecx, &edx) ||
		(ecx & bit_F16C) == 0)
		return;
	available[SIMD_AVX2] = &distance_avx2;

	if (__builtin_cpu_supports("avx512f") &&
		__builtin_cpu_supports("avx512bw") &&
		__builtin_cpu_supports("avx512dq") &&
		__builtin_cpu_supports("avx512vl") &&
		__builtin_cpu_supports("avx512vbmi") &&
		__builtin_cpu_supports("avx512vnni") &&
		__builtin_cpu_supports("avx512vpopcntdq"))
		available[SIMD_AVX512] = choose_avx512();
}

#endif							/* HAVE_X86_KERNELS */

static void __attribute__((constructor))
distance_choose(void)
{
#ifdef HAVE_X86_KERNELS
	probe_x86();
#endif
#ifdef HAVE_NEON_KERNELS
	available[SIMD_NEON] = &distance_neon;	/* every arm64 processor has it */
#endif
	distance = available[distance_best_level()];
}

/*
 * distance_kernels
 *		The kernels of a level, or NULL if this machine or build lacks it.
 */
const DistanceKernels *
distance_kernels(SimdLevel level)
{
	if ((unsigned int) level >= lengthof(available))
		return NULL;
	return available[level];
}

/*
 * distance_has_level
 *		Can kernels of this level run here?
 */
bool
distance_has_level(SimdLevel level)
{
	return distance_kernels(level) != NULL;
}

/*
 * distance_best_level
 *		The highest level that can run here.
 */
SimdLevel
distance_best_level(void)
{
	SimdLevel	level = lengthof(available) - 1;

	while (available[level] == NULL)
		level--;
	return level;
}

/*
 * distance_use_level
 *		Make a level current; false, without a change, if it cannot run here.
 */
bool
distance_use_level(SimdLevel level)
{
	const DistanceKernels *kernels = distance_kernels(level);

	if (kernels == NULL)
		return false;
	distance = kernels;
	return true;
}
