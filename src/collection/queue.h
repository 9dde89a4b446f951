/*-------------------------------------------------------------------------
 *
 * queue.h
 *		Rows of new documents in the table of those that wait to be cut.
 *
 *-------------------------------------------------------------------------
 */
#ifndef QUEUE_H
#define QUEUE_H

#include "compat.h"

#include "nodes/execnodes.h"
#include "utils/rel.h"

/* An open queue */
typedef struct Queue
{
	Relation	rel;
	Oid			array_type;		/* of the column "documents" */
	Oid			sequence;		/* of the column "id"; InvalidOid: an INSERT fills the table */
	EState	   *estate;
	ResultRelInfo *result;
	TupleTableSlot *slot;
} Queue;

extern bool queue_open(Queue *queue, Oid table);
extern void queue_insert(Queue *queue, Datum documents);
extern void queue_close(Queue *queue);

#endif							/* QUEUE_H */
