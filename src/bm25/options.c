/*-------------------------------------------------------------------------
 *
 * options.c
 *		Reloptions of bm25 indexes, and settings.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/reloptions.h"
#include "catalog/namespace.h"
#include "catalog/pg_ts_config.h"
#include "catalog/pg_type.h"
#include "tsearch/ts_cache.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

typedef struct Bm25Options
{
	int32		vl_len_;		/* varlena header */
	int			text_config;	/* offset of the string, or 0 */
	double		k1;
	double		b;
	bool		positions;
} Bm25Options;

static relopt_kind bm25_relopt_kind;
static bool unmatched = false;

/* Whether a scan returns the rows without any word of the query, too, at the end. */
bool
bm25_unmatched(void)
{
	return unmatched;
}

/* A configuration must exist when it is named. */
static void
check_config(const char *value)
{
	if (value != NULL)
		(void) get_ts_config_oid(qualified_name(value), false);
}

void
bm25_options_init(void)
{
	bm25_relopt_kind = add_reloption_kind();
	add_string_reloption(bm25_relopt_kind, "text_config",
						 "The text search configuration that makes words of texts",
						 NULL, check_config, AccessExclusiveLock);
	add_real_reloption(bm25_relopt_kind, "k1",
					   "How much a word counts that occurs again",
					   BM25_DEFAULT_K1, 0.0, 10.0, AccessExclusiveLock);
	add_real_reloption(bm25_relopt_kind, "b",
					   "How much the length of a document counts",
					   BM25_DEFAULT_B, 0.0, 1.0, AccessExclusiveLock);
	add_bool_reloption(bm25_relopt_kind, "positions",
					   "Whether positions of words are stored, for phrases",
					   true, AccessExclusiveLock);
	DefineCustomBoolVariable("bm25.unmatched",
							 "Lets scans of bm25 indexes return rows without any of the words, too.",
							 "They come after the others, with a score of 0.",
							 &unmatched, false, PGC_USERSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("bm25");
}

/* Parse the reloptions of an index. */
bytea *
bm25_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {
		{"text_config", RELOPT_TYPE_STRING, offsetof(Bm25Options, text_config)},
		{"k1", RELOPT_TYPE_REAL, offsetof(Bm25Options, k1)},
		{"b", RELOPT_TYPE_REAL, offsetof(Bm25Options, b)},
		{"positions", RELOPT_TYPE_BOOL, offsetof(Bm25Options, positions)},
	};

	return (bytea *) build_reloptions(reloptions, validate, bm25_relopt_kind,
									  sizeof(Bm25Options), table, lengthof(table));
}

/* Indexes are built with a safe search_path since PostgreSQL 17: it lacks users' schemas. */
static Oid
named_config(const char *name)
{
	Oid			config = get_ts_config_oid(qualified_name(name), true);

	if (!OidIsValid(config))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("text search configuration \"%s\" is not found while the index is built", name),
				 errhint("Name its schema, too: text_config = 'schema.name'.")));
	return config;
}

/* Are the values of an index sparse vectors? */
bool
bm25_is_sparse(Relation rel)
{
	return OidIsValid(index_getprocid(rel, 1, BM25_SPARSEVEC_PROC));
}

/* What that of an index of sparse vectors says; it has nothing to choose. */
static void
init_sparse(Relation rel, const Bm25Options *options, Bm25MetaPageData *meta)
{
	if (options != NULL &&
		(options->text_config != 0 || options->k1 != BM25_DEFAULT_K1 ||
		 options->b != BM25_DEFAULT_B || !options->positions))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an index of sparse vectors has no options of words"),
				 errhint("Leave text_config, k1, b and positions out.")));
	meta->flags = BM25_HAS_IMPACTS;
	meta->dim = Max(TupleDescAttr(RelationGetDescr(rel), 0)->atttypmod, 0);
}

/* What a new index's metapage says. */
void
bm25_meta_init(Relation rel, Bm25MetaPageData *meta)
{
	Bm25Options *options = (Bm25Options *) rel->rd_options;
	Oid			config;
	HeapTuple	tuple;
	Form_pg_ts_config form;

	memset(meta, 0, sizeof(*meta));
	/* the head's first page has generation 1 */
	meta->next_generation = 2;
	meta->head_first = meta->head_last = BM25_FIRST_HEAD;
	meta->head_pages = 1;
	if (bm25_is_sparse(rel))
	{
		init_sparse(rel, options, meta);
		return;
	}
	if (options != NULL && options->text_config != 0)
		config = named_config((char *) options + options->text_config);
	else
		config = getTSCurrentConfig(true);
	tuple = SearchSysCache1(TSCONFIGOID, ObjectIdGetDatum(config));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for text search configuration %u", config);
	form = (Form_pg_ts_config) GETSTRUCT(tuple);
	meta->k1 = options != NULL ? options->k1 : BM25_DEFAULT_K1;
	meta->b = options != NULL ? options->b : BM25_DEFAULT_B;
	if (options == NULL || options->positions)
		meta->flags |= BM25_HAS_POSITIONS |
			(rel->rd_opcintype[0] == TSVECTOROID ? BM25_HAS_WEIGHTS : 0);
	namestrcpy(&meta->config_name, NameStr(form->cfgname));
	namestrcpy(&meta->config_schema, get_namespace_name(form->cfgnamespace));
	ReleaseSysCache(tuple);
}
