/*-------------------------------------------------------------------------
 *
 * filters.c
 *		Do the metadata of new documents fit the filter columns?
 *
 * What a document has for a filter column is (metadata ->> key)::type, as
 * piramid.filter_values() has it.  Here it is computed, so that it fails if it
 * does not fit: when the document is written, and not when it is cut.
 *
 *-------------------------------------------------------------------------
 */
#include "compat.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "filters.h"

/* (metadata ->> key)::type */
static ExprState *
value_of(AttrNumber metadata, const char *key, Oid type)
{
	Node	   *row = (Node *) makeVar(1, metadata, JSONBOID, -1, InvalidOid, 0);
	Node	   *name = (Node *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1, CStringGetTextDatum(key), false, false);
	Node	   *text = (Node *) makeFuncExpr(F_JSONB_OBJECT_FIELD_TEXT, TEXTOID, list_make2(row, name),
											 DEFAULT_COLLATION_OID, InvalidOid, COERCE_EXPLICIT_CALL);
	Node	   *value = coerce_to_target_type(NULL, text, TEXTOID, type, -1, COERCION_EXPLICIT, COERCE_EXPLICIT_CAST, -1);

	return value == NULL ? NULL : ExecInitExpr(expression_planner((Expr *) value), NULL);
}

/* NULL if there is nothing to test.  The columns of chunks have the types, without a name to look for. */
Filters *
filters_start(Collection *c, Relation documents)
{
	AttrNumber	metadata = get_attnum(RelationGetRelid(documents), "metadata");
	Filters    *filters;
	JsonbIterator *keys;
	JsonbValue	v;
	JsonbIteratorToken token;

	/* Columns of an attached table have their types. */
	if (c->attached || c->filters == NULL || metadata == InvalidAttrNumber ||
		TupleDescAttr(RelationGetDescr(documents), metadata - 1)->atttypid != JSONBOID)
		return NULL;
	filters = palloc(sizeof(Filters));
	filters->n = 0;
	filters->values = palloc(JB_ROOT_COUNT(c->filters) * sizeof(ExprState *));
	keys = JsonbIteratorInit(&c->filters->root);
	while ((token = JsonbIteratorNext(&keys, &v, true)) != WJB_DONE)
	{
		char	   *key;
		Oid			type;
		ExprState  *value;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		type = get_atttype(c->chunks, get_attnum(c->chunks, key));
		if (OidIsValid(type) && type != TEXTOID && (value = value_of(metadata, key, type)) != NULL)
			filters->values[filters->n++] = value;
	}
	if (filters->n == 0)
		return NULL;
	filters->econtext = CreateStandaloneExprContext();
	return filters;
}

/* Fails if the document does not fit. */
void
filters_check(Filters *filters, TupleTableSlot *document)
{
	filters->econtext->ecxt_scantuple = document;
	for (int i = 0; i < filters->n; i++)
	{
		bool		isnull;

		(void) ExecEvalExprSwitchContext(filters->values[i], filters->econtext, &isnull);
	}
	ResetExprContext(filters->econtext);
}

void
filters_end(Filters *filters)
{
	FreeExprContext(filters->econtext, true);
}
