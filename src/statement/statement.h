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

extern uint64 statement_execute(const char *sql, ParamListInfo params, DestReceiver *dest, int flags);

#endif							/* STATEMENT_H */
