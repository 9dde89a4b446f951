/*-------------------------------------------------------------------------
 *
 * lexemes.c
 *		What words of texts become, as the server's parsetext() does it, but with
 *		the words remembered: stemming one takes longer than finding it.
 *
 * Only for configurations whose dictionaries are the server's own, which answer the same
 * to the same word, and look at one word at a time.
 *
 *-------------------------------------------------------------------------
 */
#include "bm25/bm25.h"

#include "access/transam.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "tsearch/ts_cache.h"
#include "tsearch/ts_public.h"
#include "tsearch/ts_utils.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* Words remembered: each has two places where it can stand, and the last ones stay. */
#define PLACES 8192

/* Longer ones are not worth it. */
#define MOST_BYTES 30

/* A backend that parses less does not begin to remember. */
#define FIRST_BYTES 8192

typedef enum Answer
{
	NOTHING_KNOWN,				/* no such word is remembered */
	NO_WORD,					/* no dictionary knows it */
	STOP_WORD,
	ONE_LEXEME
} Answer;

typedef struct Remembered
{
	Oid			config;
	int			type;			/* of the token */
	uint8		answer;			/* an Answer */
	uint8		len;
	uint8		lexeme_len;
	char		word[MOST_BYTES];
	char		lexeme[MOST_BYTES];
} Remembered;

static Remembered *remembered = NULL;
static Size parsed_bytes = 0;

/* The configuration looked at last, and whether its words may be remembered */
static Oid	known_config = InvalidOid;
static bool known_plain;

/* A configuration, a dictionary or a parser has changed. */
static void
forget_words(Datum arg, int cache, uint32 hash)
{
	known_config = InvalidOid;
	if (remembered != NULL)
		memset(remembered, 0, sizeof(Remembered) * PLACES);
}

static void
watch_caches(void)
{
	static const int caches[] = {TSCONFIGMAP, TSCONFIGOID, TSDICTOID, TSPARSEROID, TSTEMPLATEOID};
	static bool watched = false;

	if (watched)
		return;
	for (int i = 0; i < lengthof(caches); i++)
		CacheRegisterSyscacheCallback(caches[i], forget_words, (Datum) 0);
	watched = true;
}

/* Are all dictionaries of a configuration the server's, and none of phrases? */
static bool
is_plain(const TSConfigCacheEntry *config)
{
	for (int type = 0; type < config->lenmap; type++)
		for (int i = 0; i < config->map[type].len; i++)
		{
			TSDictionaryCacheEntry *dictionary =
				lookup_ts_dictionary_cache(config->map[type].dictIds[i]);

			if (dictionary->lexizeOid >= FirstNormalObjectId ||
				dictionary->lexizeOid == F_THESAURUS_LEXIZE)
				return false;
		}
	return true;
}

/* Ask the dictionaries; NULL if none knows the word. */
static TSLexeme *
ask(const ListDictionary *dictionaries, char *word, int len)
{
	for (int i = 0; i < dictionaries->len; i++)
	{
		TSDictionaryCacheEntry *dictionary = lookup_ts_dictionary_cache(dictionaries->dictIds[i]);
		DictSubState state = {0};
		TSLexeme   *found =
			(TSLexeme *) DatumGetPointer(FunctionCall4(&dictionary->lexize,
													   PointerGetDatum(dictionary->dictData),
													   PointerGetDatum(word), Int32GetDatum(len),
													   PointerGetDatum(&state)));

		if (found == NULL)
			continue;
		if (!(found->flags & TSL_FILTER))
			return found;
		/* The next dictionaries get this instead. */
		word = found->lexeme;
		len = strlen(word);
	}
	return NULL;
}

static void
add_word(ParsedText *parsed, char *word, int len)
{
	ParsedWord *added;

	if (parsed->curwords == parsed->lenwords)
	{
		if (parsed->lenwords == BM25_MOST_WORDS)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("text has more than %d words", BM25_MOST_WORDS),
					 errhint("Index its parts as rows of their own.")));
		parsed->lenwords = Min(parsed->lenwords * 2, BM25_MOST_WORDS);
		parsed->words = repalloc(parsed->words, sizeof(ParsedWord) * parsed->lenwords);
	}
	added = &parsed->words[parsed->curwords++];
	added->word = word;
	added->len = len;
	added->pos.pos = LIMITPOS(parsed->pos);
}

/* Remember what the dictionaries said, if that is simple. */
static void
remember(Remembered *place, const TSLexeme *found)
{
	place->answer = NOTHING_KNOWN;
	if (found == NULL)
		place->answer = NO_WORD;
	else if (found->lexeme == NULL)
		place->answer = STOP_WORD;
	else if (found[1].lexeme == NULL && !(found->flags & TSL_ADDPOS) &&
			 strlen(found->lexeme) <= MOST_BYTES)
	{
		place->answer = ONE_LEXEME;
		place->lexeme_len = strlen(found->lexeme);
		memcpy(place->lexeme, found->lexeme, place->lexeme_len);
	}
}

/* Add what a word becomes. */
static void
add_lexemes(const TSConfigCacheEntry *config, int type, char *word, int len, ParsedText *parsed)
{
	Remembered *places = NULL;
	TSLexeme   *found;

	if (remembered != NULL && len <= MOST_BYTES)
	{
		uint32		hash = hash_bytes((unsigned char *) word, len) + type;

		places = &remembered[hash % (PLACES / 2) * 2];
		for (int i = 0; i < 2; i++)
		{
			Remembered *place = &places[i];

			if (place->answer == NOTHING_KNOWN || place->config != config->cfgId ||
				place->type != type || place->len != len || memcmp(place->word, word, len) != 0)
				continue;
			parsed->pos += place->answer != NO_WORD;
			if (place->answer == ONE_LEXEME)
				add_word(parsed, pnstrdup(place->lexeme, place->lexeme_len), place->lexeme_len);
			return;
		}
	}
	found = ask(&config->map[type], word, len);
	/* If the configuration has changed meanwhile, this text still gets the old one. */
	if (places != NULL && known_config == config->cfgId)
	{
		places[1] = places[0];
		places[0].config = config->cfgId;
		places[0].type = type;
		places[0].len = len;
		memcpy(places[0].word, word, len);
		remember(&places[0], found);
	}
	if (found == NULL)
		return;
	parsed->pos++;
	for (TSLexeme *lexeme = found; lexeme->lexeme != NULL; lexeme++)
	{
		parsed->pos += (lexeme->flags & TSL_ADDPOS) != 0;
		add_word(parsed, lexeme->lexeme, strlen(lexeme->lexeme));
	}
	pfree(found);
}

/* The words of a text, of which "words", "len" and "pos" are set. */
void
bm25_parse_words(Oid config_oid, ParsedText *parsed, char *text, int len)
{
	TSConfigCacheEntry *config;
	TSParserCacheEntry *parser;
	void	   *state;
	int			type;
	char	   *word;
	int			word_len;

	watch_caches();
	config = lookup_ts_config_cache(config_oid);
	if (known_config != config_oid)
	{
		/* Looking may bring news that make this one unknown again. */
		known_config = config_oid;
		known_plain = is_plain(config);
	}
	if (known_config != config_oid || !known_plain)
	{
		parsetext(config_oid, parsed, text, len);
		return;
	}
	parsed_bytes += len;
	if (remembered == NULL && parsed_bytes >= FIRST_BYTES)
		remembered = MemoryContextAllocZero(TopMemoryContext, sizeof(Remembered) * PLACES);
	parser = lookup_ts_parser_cache(config->prsId);
	state = DatumGetPointer(FunctionCall2(&parser->prsstart, PointerGetDatum(text),
										  Int32GetDatum(len)));
	while ((type = DatumGetInt32(FunctionCall3(&parser->prstoken, PointerGetDatum(state),
											   PointerGetDatum(&word),
											   PointerGetDatum(&word_len)))) > 0)
	{
		CHECK_FOR_INTERRUPTS();
		if (word_len > MAXSTRLEN)
			ereport(NOTICE,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("word is too long to be indexed"),
					 errdetail("Words longer than %d characters are ignored.", MAXSTRLEN)));
		else if (type < config->lenmap && config->map[type].len > 0)
			add_lexemes(config, type, word, word_len, parsed);
	}
	FunctionCall1(&parser->prsend, PointerGetDatum(state));
}
