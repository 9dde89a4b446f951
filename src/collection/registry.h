/*-------------------------------------------------------------------------
 *
 * registry.h
 *		What the registry of collections says of one.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REGISTRY_H
#define REGISTRY_H

#include "compat.h"

#include "utils/jsonb.h"

/* A row of piramid.collection, as far as it is needed here */
typedef struct Collection
{
	Oid			documents;
	Oid			chunks;
	Oid			jobs;
	Oid			uncut;			/* or InvalidOid */
	bool		attached;
	bool		limited;		/* has a quota */
	Jsonb	   *filters;		/* the filter columns, or NULL */
	bool		deferred;		/* documents are cut later */
	char	   *key_column;
	bytea	   *row;			/* all of it, as it is stored */
} Collection;

extern bool registry_collection(Oid schema, Oid documents, Collection *c);
extern Oid	registry_active_vectors(Oid schema, Oid documents);
extern void registry_check_snapshot(Oid schema, Oid documents, bool begun);
extern JsonbValue *registry_find_value(Jsonb *object, const char *key);
extern char *registry_table_name(Oid table);

#endif							/* REGISTRY_H */
