/*-------------------------------------------------------------------------
 *
 * kept.h
 *		Statements of collections, kept for the next call of the same kind.
 *
 *-------------------------------------------------------------------------
 */
#ifndef KEPT_H
#define KEPT_H

#include "compat.h"

#include "lib/stringinfo.h"

/* Tables on which the text of a statement depends */
#define KEPT_TABLES 3

extern const char *kept_statement(StringInfo key);
extern void keep_statement(StringInfo key, Oid *tables, const char *sql);
extern const char *make_statement(const char *question, int nargs, Oid *types, Datum *values, const char *nulls);

#endif							/* KEPT_H */
