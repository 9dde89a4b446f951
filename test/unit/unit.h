/*-------------------------------------------------------------------------
 *
 * unit.h
 *		Helpers of the unit tests: TAP output, random numbers, guarded memory.
 *
 * A test program calls ok() once per statement that it checks and ends with
 * "return done_testing();".  Run by prove, or alone.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PIRAMID_UNIT_H
#define PIRAMID_UNIT_H

#include "c.h"

/* The server's headers replace these by functions of its own. */
#undef printf
#undef fprintf
#undef snprintf
#undef vprintf

/* One TAP line; returns "passed". */
extern bool ok(bool passed, const char *format,...) __attribute__((format(printf, 2, 3)));

/* A line of TAP for something that cannot be tested here. */
extern void skip(const char *format,...) __attribute__((format(printf, 1, 2)));

/* A comment line. */
extern void diag(const char *format,...) __attribute__((format(printf, 1, 2)));

/* Print the plan and the count of passes; the exit status of the program. */
extern int	done_testing(void);

/* Deterministic random numbers. */
extern uint64 random_bits(void);
extern int	random_int(int low, int high);	/* low <= result <= high */
extern float random_float(float low, float high);

/*
 * Memory between two pages that cannot be touched.  at_end() gives a pointer
 * such that "bytes" bytes from it end "slack" bytes before the upper one.
 */
typedef struct Guarded
{
	uint8	   *start;
	uint8	   *end;
} Guarded;

extern Guarded guarded_alloc(Size bytes);
extern void *at_end(Guarded memory, Size bytes, Size slack);

#endif							/* PIRAMID_UNIT_H */
