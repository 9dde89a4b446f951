/*-------------------------------------------------------------------------
 *
 * statement.h
 *		SQL that is put together, planned once in a session.
 *
 *-------------------------------------------------------------------------
 */
#ifndef STATEMENT_H
#define STATEMENT_H

#include "compat.h"

#include "nodes/params.h"
#include "tcop/dest.h"

/* Plan once for any arguments, where these do not tell which plan is best. */
#define STATEMENT_GENERIC 1
/* Look names up in pg_catalog, for a caller that has no search path of its own. */
#define STATEMENT_FIXED_PATH 2
/* See what the statement sees that calls, as a STABLE function has to. */
#define STATEMENT_READ_ONLY 4

extern uint64 statement_execute(const char *sql, ParamListInfo params, DestReceiver *dest, int flags);

#endif							/* STATEMENT_H */
