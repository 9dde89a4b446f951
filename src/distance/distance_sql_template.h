/*-------------------------------------------------------------------------
 *
 * distance_sql_template.h
 *		SQL functions for the distances between two values of a dense vector
 *		type: instantiate by defining the parameters below and including this
 *		file.
 *
 * Parameters, all undefined again at the end:
 *
 *	DIST_PREFIX			start of every function name, and the SQL type's name
 *	DIST_STRUCT			struct of the type: dim and x[]
 *	DIST_KERNEL(name)	the kernel for its elements: l2sq, ip, l1, dot_norms
 *
 *-------------------------------------------------------------------------
 */
#define DIST_CONCAT_(a, b) a##_##b
#define DIST_CONCAT(a, b) DIST_CONCAT_(a, b)
#define DIST_FN(name) DIST_CONCAT(DIST_PREFIX, name)
#define DIST_STRING_(a) #a
#define DIST_STRING(a) DIST_STRING_(a)

/* Declares the arguments a and b, which must have the same dimensions. */
#define DIST_ARGS(a, b) \
	DIST_STRUCT *a = (DIST_STRUCT *) vec_getarg_toasted(fcinfo, 0); \
	DIST_STRUCT *b = (DIST_STRUCT *) vec_getarg_toasted(fcinfo, 1); \
\
	vec_check_same_dim(a->dim, b->dim, DIST_STRING(DIST_PREFIX))

/* Euclidean distance. */
PG_FUNCTION_INFO_V1(DIST_FN(l2_distance));
Datum
DIST_FN(l2_distance) (PG_FUNCTION_ARGS)
{
	DIST_ARGS(a, b);

	PG_RETURN_FLOAT8(sqrt((double) DIST_KERNEL(l2sq) (a->dim, a->x, b->x)));
}

/* Square of the Euclidean distance, which orders rows alike. */
PG_FUNCTION_INFO_V1(DIST_FN(l2_squared_distance));
Datum
DIST_FN(l2_squared_distance) (PG_FUNCTION_ARGS)
{
	DIST_ARGS(a, b);

	PG_RETURN_FLOAT8((double) DIST_KERNEL(l2sq) (a->dim, a->x, b->x));
}

/* Inner product. */
PG_FUNCTION_INFO_V1(DIST_FN(inner_product));
Datum
DIST_FN(inner_product) (PG_FUNCTION_ARGS)
{
	DIST_ARGS(a, b);

	PG_RETURN_FLOAT8((double) DIST_KERNEL(ip) (a->dim, a->x, b->x));
}

/* Negative inner product, so that the nearest come first. */
PG_FUNCTION_INFO_V1(DIST_FN(negative_inner_product));
Datum
DIST_FN(negative_inner_product) (PG_FUNCTION_ARGS)
{
	DIST_ARGS(a, b);

	PG_RETURN_FLOAT8(-(double) DIST_KERNEL(ip) (a->dim, a->x, b->x));
}

/*
 * Cosine distance, 1 - cos(a, b).  NaN if a vector is zero, or so small or
 * large that its squared norm is zero or infinite: there is no true answer
 * then, and NaN sorts last.
 */
PG_FUNCTION_INFO_V1(DIST_FN(cosine_distance));
Datum
DIST_FN(cosine_distance) (PG_FUNCTION_ARGS)
{
	float		dot;
	float		asq;
	float		bsq;
	DIST_ARGS(a, b);

	DIST_KERNEL(dot_norms) (a->dim, a->x, b->x, &dot, &asq, &bsq);
	if (asq == 0 || bsq == 0 || isinf(asq) || isinf(bsq))
		PG_RETURN_FLOAT8(get_float8_nan());
	/* The product of two floats never overflows a double. */
	PG_RETURN_FLOAT8(1 - clamp_cosine(dot / sqrt((double) asq * (double) bsq)));
}

/*
 * Angle between two vectors of norm 1, divided by pi.  Unlike the cosine
 * distance it satisfies the triangle inequality.
 */
PG_FUNCTION_INFO_V1(DIST_FN(spherical_distance));
Datum
DIST_FN(spherical_distance) (PG_FUNCTION_ARGS)
{
	DIST_ARGS(a, b);

	PG_RETURN_FLOAT8(acos(clamp_cosine(DIST_KERNEL(ip) (a->dim, a->x, b->x))) / M_PI);
}

/* Taxicab distance. */
PG_FUNCTION_INFO_V1(DIST_FN(l1_distance));
Datum
DIST_FN(l1_distance) (PG_FUNCTION_ARGS)
{
	DIST_ARGS(a, b);

	PG_RETURN_FLOAT8((double) DIST_KERNEL(l1) (a->dim, a->x, b->x));
}

#undef DIST_CONCAT_
#undef DIST_CONCAT
#undef DIST_FN
#undef DIST_STRING_
#undef DIST_STRING
#undef DIST_ARGS
#undef DIST_PREFIX
#undef DIST_STRUCT
#undef DIST_KERNEL
