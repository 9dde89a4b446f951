/*-------------------------------------------------------------------------
 *
 * filters.h
 *		Do the metadata of new documents fit the filter columns?
 *
 *-------------------------------------------------------------------------
 */
#ifndef FILTERS_H
#define FILTERS_H

#include "compat.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#include "registry.h"

typedef struct Filters
{
	ExprContext *econtext;
	int			n;
	ExprState **values;			/* of the columns, by the row of a document */
} Filters;

extern Filters *filters_start(Collection *c, Relation documents);
extern void filters_check(Filters *filters, TupleTableSlot *document);
extern void filters_end(Filters *filters);

#endif							/* FILTERS_H */
