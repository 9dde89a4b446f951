/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *		Fuzzing of the types outside the server.
 *
 * fuzz.c turns an input of the fuzzer into calls and checks what every type
 * promises; type_NAME.c tells it the functions of one type and what else that
 * type promises; backend.c stands in for the server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_FUZZ_H
#define PIRAMID_FUZZ_H

#include "compat.h"

#include "fmgr.h"
#include "utils/array.h"			/* and the headers of values, in every version */

/* What a call came to. */
typedef struct Outcome
{
	bool		failed;			/* last_error tells why */
	bool		isnull;
	Datum		value;
} Outcome;

typedef struct LastError
{
	int			sqlstate;
	char		message[256];
} LastError;

/* A type under test; what a type lacks is NULL. */
typedef struct FuzzType
{
	const char *name;
	PGFunction	in;
	PGFunction	out;
	PGFunction	recv;
	PGFunction	send;
	PGFunction	typmod_in;
	PGFunction	typmod_cast;
	PGFunction	from_array;
	PGFunction	accum;
	PGFunction	avg;
	PGFunction	cmp;
	PGFunction	compare[6];		/* lt, le, eq, ne, ge, gt */

	/* Stops the program unless a value is what the type's header promises. */
	void		(*check) (Datum value);
	/* What else can be done with a value and two numbers, or two values. */
	void		(*one) (Datum value, int32 x, int32 y);
	void		(*two) (Datum a, Datum b);
} FuzzType;

/* the type that this program tests, in type_NAME.c */
extern const FuzzType fuzz_type;

/* functions in backend.c */
extern LastError last_error;
extern bool in_aggregate;
extern bool soft_errors;
extern Outcome call(PGFunction function, int nargs,...);
extern Size allocated_size(const void *memory);
extern void free_everything(void);

/* functions in fuzz.c */
pg_noreturn extern void require_failed(const char *condition, const char *file,
									   int line);
extern Outcome checked(Outcome outcome);
extern void check_value(Datum value);

/* Stops the program, which the fuzzer counts as a crash. */
#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
			require_failed(#condition, __FILE__, __LINE__); \
	} while (0)

/* call() with arguments of any scalar type, whose error must be a good one */
#define CALL1(f, a) checked(call(f, 1, (Datum) (a)))
#define CALL2(f, a, b) checked(call(f, 2, (Datum) (a), (Datum) (b)))
#define CALL3(f, a, b, c) \
	checked(call(f, 3, (Datum) (a), (Datum) (b), (Datum) (c)))

#endif							/* PIRAMID_FUZZ_H */
