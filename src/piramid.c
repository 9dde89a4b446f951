/*-------------------------------------------------------------------------
 *
 * piramid.c
 *		Module load: settings, and the functions that tell what was loaded.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "bm25/bm25.h"
#include "distance/distance.h"
#include "hnsw/hnsw.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#define PIRAMID_VERSION "0.3.0"

PG_MODULE_MAGIC_EXT(.name = "piramid", .version = PIRAMID_VERSION);

/* piramid.simd: a SimdLevel, or the best that the machine has. */
#define SIMD_AUTO (-1)

static int	simd_level = SIMD_AUTO;

/* piramid.tenant: only policies and defaults of collections look at it, by SQL. */
static char *tenant = NULL;

static const struct config_enum_entry simd_options[] = {
	{"auto", SIMD_AUTO, false},
	{"scalar", SIMD_SCALAR, false},
	{"neon", SIMD_NEON, false},
	{"avx2", SIMD_AVX2, false},
	{"avx512", SIMD_AVX512, false},
	{NULL, 0, false}
};

/* GUC check hook: the machine must have the level. */
static bool
check_simd(int *newval, void **extra, GucSource source)
{
	if (*newval == SIMD_AUTO || distance_has_level((SimdLevel) *newval))
		return true;
	GUC_check_errdetail("This machine or this build has no such instructions; the best that it has is \"%s\".",
						distance_kernels(distance_best_level())->name);
	return false;
}

/* GUC assign hook: switch the kernels of this backend. */
static void
assign_simd(int newval, void *extra)
{
	distance_use_level(newval == SIMD_AUTO ? distance_best_level()
					   : (SimdLevel) newval);
}

void		_PG_init(void);

void
_PG_init(void)
{
	DefineCustomEnumVariable("piramid.simd",
							 "Sets the instruction set of the distance functions.",
							 "\"auto\" is the best that this machine has.",
							 &simd_level,
							 SIMD_AUTO,
							 simd_options,
							 PGC_SUSET,
							 0,
							 check_simd,
							 assign_simd,
							 NULL);
	DefineCustomStringVariable("piramid.tenant",
							   "Names the tenant whose rows of isolated collections the session sees.",
							   NULL,
							   &tenant,
							   "",
							   PGC_USERSET,
							   0,
							   NULL,
							   NULL,
							   NULL);
	MarkGUCPrefixReserved("piramid");

	hnsw_init();
	bm25_init();
}

/* The version of the library, which may differ from the extension's. */
PG_FUNCTION_INFO_V1(piramid_version);
Datum
piramid_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(PIRAMID_VERSION));
}

/* The instruction set in use. */
PG_FUNCTION_INFO_V1(piramid_simd);
Datum
piramid_simd(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(distance->name));
}
