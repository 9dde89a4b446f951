/*-------------------------------------------------------------------------
 *
 * search.h
 *		Statements of searches, kept for the next one of the same kind.
 *
 *-------------------------------------------------------------------------
 */
#ifndef SEARCH_H
#define SEARCH_H

#include "compat.h"

#include "lib/stringinfo.h"

/* Tables on which the text of a statement depends */
#define SEARCH_TABLES 3

extern const char *search_kept(StringInfo key);
extern void search_keep(StringInfo key, Oid *tables, const char *sql);

#endif							/* SEARCH_H */
