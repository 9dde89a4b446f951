"""A synthetic set in the manner of SPLADE: sparse documents and queries.

SPLADE gives a text a weight for every term of BERT's vocabulary, most of them
zero: log(1 + relu(x)), the greatest over the words of the text.  The model's
output for MS MARCO cannot be distributed with a benchmark; this set has what
decides how hard the search is: how many terms a row has, how often terms
occur, how weights are distributed, and rows that are near because they are
about the same things.

A document is about one to three topics.  It draws terms from them and from
the whole vocabulary, each drawn term gets a weight that is greater the more
typical the term is for its topic, and the heaviest are kept.  A query is made
from a document: some of its heavy terms, and expansions from its topics.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from column import COLUMNS, copy_stream
from sparse import SparseDataset, SparseRows

# Terms: BERT's vocabulary.
DIM = 30522
# Non-zero elements, mean and bounds.  SPLADE on MS MARCO: 119 in a passage and
# 43 in a query (the effective model behind the published benchmarks).
DOCUMENT_TERMS = (119, 50, 200)
QUERY_TERMS = (43, 20, 60)
# Exponent of Zipf's law: words of English text have about 1; expansion spreads
# the weight over synonyms, so the common terms are a little less common.
ZIPF = 0.9
# Topics, and terms in each.  One of 100,000 documents in a hundred is about a
# given topic and a third of those mainly: enough for a hundred neighbours, few
# enough to tell them from the rest.
TOPICS = 300
TOPIC_TERMS = 600
# Exponent of how a topic prefers its typical terms, so that rows of one topic
# share them.
TYPICAL = 0.7
# Share of the draws that comes from the whole vocabulary: names, numbers and
# function words.  It decides how many terms any query and any document share:
# between one and two, as with SPLADE models (their "FLOPS", 1 to 4).
BACKGROUND = 0.5
# Logit of the most and the least typical term of a topic, and of a term of no
# topic.  log(1 + x) makes weights up to 2 or 3 of them, as SPLADE's.
LOGITS = (6.0, 0.5)
BACKGROUND_LOGIT = 1.0
# Deviation of the logits: a document stresses terms of its own.
NOISE = 1.2
# Draws per term that is kept; duplicates and the lightest terms go.
DRAWS = 1.8
# Heaviest terms of its document that a query may ask for, and how many of a
# query's terms are such; the others are expansions.
HEAVY = 40
ASKED = 0.2
CHUNK = 10000


class Topics:
    """What documents and queries draw terms from."""

    def __init__(self, rng):
        frequency = np.arange(1, DIM + 1) ** -ZIPF
        frequency = frequency[rng.permutation(DIM)]
        self.background = np.cumsum(frequency / frequency.sum())
        # A topic's terms are any but the most common ones, which tell nothing
        # apart; rare ones less often, as they are rare.
        common = np.argsort(-frequency)[:200]
        chance = np.sqrt(frequency)
        chance[common] = 0
        chance /= chance.sum()
        self.terms = np.stack([rng.choice(DIM, TOPIC_TERMS, replace=False, p=chance) for _ in range(TOPICS)])
        typical = np.arange(1, TOPIC_TERMS + 1) ** -TYPICAL
        self.rank = np.cumsum(typical / typical.sum())
        self.logit = np.geomspace(*LOGITS, TOPIC_TERMS)

    def mixtures(self, rng, n):
        """Three topics of each of n documents and their cumulated shares; most
        of them have one main topic."""
        chosen = rng.integers(TOPICS, size=(n, 3))
        shares = rng.dirichlet([0.5, 0.3, 0.2], size=n)
        return chosen, np.cumsum(shares, axis=1)

    def draw(self, rng, rows, mixtures):
        """A term and its logit for each element of rows, which are row numbers
        of the mixtures."""
        chosen, shares = mixtures
        slot = (rng.random(len(rows))[:, None] > shares[rows, :2]).sum(axis=1)
        rank = np.searchsorted(self.rank, rng.random(len(rows))).clip(max=TOPIC_TERMS - 1)
        term = self.terms[chosen[rows, slot], rank]
        logit = self.logit[rank]
        other = rng.random(len(rows)) < BACKGROUND
        term[other] = np.searchsorted(self.background, rng.random(other.sum())).clip(max=DIM - 1)
        logit[other] = BACKGROUND_LOGIT
        return term, logit


def weigh(rng, logit):
    """SPLADE's weight, log(1 + relu(x)), of scattered logits."""
    return np.log1p(np.maximum(logit + NOISE * rng.standard_normal(len(logit)), 0))


def sizes(rng, n, mean, low, high):
    """Numbers of terms: most near the mean, some up to the bounds."""
    return np.clip(np.rint(rng.lognormal(np.log(mean) - 0.045, 0.3, n)), low, high).astype(np.int64)


def keep_heaviest(rows, terms, weights, wanted):
    """The greatest weight of each term of a row, the wanted heaviest of each
    row; in the order of rows and terms."""
    order = np.lexsort((-weights, rows * DIM + terms))
    key = (rows * DIM + terms)[order]
    first = order[np.concatenate([[True], key[1:] != key[:-1]]) & (weights[order] > 0)]
    rows, terms, weights = rows[first], terms[first], weights[first]
    order = np.lexsort((-weights, rows))
    start = np.searchsorted(rows, np.arange(len(wanted)))
    place = np.arange(len(rows)) - start[rows[order]]
    kept = np.sort(order[place < wanted[rows[order]]])
    return rows[kept], terms[kept], weights[kept]


def compressed(parts, n):
    """SparseRows of (rows, terms, weights) with ascending rows."""
    rows, terms, weights = (np.concatenate(part) for part in zip(*parts))
    return SparseRows(np.searchsorted(rows, np.arange(n + 1)), terms, weights, DIM)


def make_documents(rng, topics, mixtures):
    n = len(mixtures[0])
    wanted = sizes(rng, n, *DOCUMENT_TERMS)
    parts = []
    for at in range(0, n, CHUNK):
        part = wanted[at:at + CHUNK]
        rows = np.repeat(np.arange(len(part)), np.ceil(part * DRAWS).astype(np.int64))
        terms, logit = topics.draw(rng, rows + at, mixtures)
        rows, terms, weights = keep_heaviest(rows, terms, weigh(rng, logit), part)
        parts.append((rows + at, terms, weights))
    return compressed(parts, n)


def make_queries(rng, topics, mixtures, documents, n):
    sources = rng.choice(len(documents), n, replace=n > len(documents))
    wanted = sizes(rng, n, *QUERY_TERMS)
    rows, terms, weights = [], [], []
    for i, source in enumerate(sources):
        document = documents[int(source)]
        heavy = np.argsort(-document.values, kind="stable")[:HEAVY]
        asked = rng.choice(heavy, min(int(wanted[i] * ASKED), len(heavy)), replace=False)
        rows.append(np.full(len(asked), i))
        terms.append(document.indices[asked])
        weights.append(document.values[asked])
    more = np.repeat(np.arange(n), np.ceil(wanted * (1 - ASKED) * DRAWS).astype(np.int64))
    term, logit = topics.draw(rng, sources[more], mixtures)
    rows, terms, weights = (np.concatenate(part) for part in (
        rows + [more], terms + [term], weights + [weigh(rng, logit)]))
    return compressed([keep_heaviest(rows, terms, weights, wanted)], n)


def generate(documents=100000, queries=1000, seed=1):
    """(documents, queries) as SparseRows, always the same for a seed."""
    rng = np.random.default_rng(seed)
    topics = Topics(rng)
    mixtures = topics.mixtures(rng, documents)
    rows = make_documents(rng, topics, mixtures)
    return rows, make_queries(rng, topics, mixtures, rows, queries)


def describe(data, truth):
    """Lines that tell whether the set is like the model's output and whether
    its neighbours mean something."""
    rows, queries = data.train, data.queries

    def share(part):
        return np.bincount(part.indices, minlength=DIM) / len(part)

    yield f"{len(rows)} documents, {len(queries)} queries, {DIM} terms"
    for name, part in (("document", rows), ("query", queries)):
        n = np.diff(part.starts)
        yield (f"terms of a {name}: mean {n.mean():.1f}, {n.min()} to {n.max()}; "
               f"weights: mean {part.values.mean():.2f}, greatest {part.values.max():.2f}")
    frequent = np.sort(share(rows))[::-1]
    yield (f"the most frequent term is in {frequent[0]:.1%} of the documents, the 100th in {frequent[99]:.1%}, "
           f"the 10,000th in {frequent[9999]:.3%}")
    yield f"terms that a query and a document have in common: mean {share(rows) @ share(queries):.2f}"
    total = np.bincount(rows.indices, rows.values, DIM)
    mean = queries.values @ total[queries.indices] / len(rows) / len(queries)
    scores = np.array([-data.distances(q, data.fetch(ids)) for q, ids in zip(queries, truth)])
    places = [p for p in (1, 10, 100) if p <= truth.shape[1]]
    ratios = ", ".join(f"{scores[:, p - 1].mean() / mean:.1f}" for p in places)
    yield f"mean score of the neighbours at place {', '.join(map(str, places))} over that of any document: {ratios}"
    overlap = np.mean([len(np.intersect1d(a[:10], b[:10])) for a, b in zip(truth, truth[1:])]) / 10
    yield f"neighbours that two queries have in common among their ten: {overlap:.2%}"


def write(data, truth, folder, form):
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("documents", data.train), ("queries", data.queries)):
        if form == "binary":
            with open(folder / f"{name}.copy", "wb") as f:
                f.writelines(copy_stream(data.column, ((at, part[at:at + CHUNK])
                                                       for at in range(0, len(part), CHUNK))))
        else:
            with open(folder / f"{name}.tsv", "w", encoding="ascii") as f:
                f.writelines(f"{i}\t{data.column.text(row)}\n" for i, row in enumerate(part))
    with open(folder / "neighbours.tsv", "w", encoding="ascii") as f:
        for i, (query, ids) in enumerate(zip(data.queries, truth)):
            scores = -data.distances(query, data.fetch(ids))
            f.writelines(f"{i}\t{place}\t{id}\t{score!r}\n" for place, (id, score)
                         in enumerate(zip(ids.tolist(), scores.tolist()), 1))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0],
                                formatter_class=argparse.ArgumentDefaultsHelpFormatter,
                                epilog="Writes documents and queries for COPY (id, embedding) and neighbours.tsv: number "
                                "of the query, place, number of the document, inner product.  Numbers start at 0.")
    p.add_argument("--documents", type=int, default=100000)
    p.add_argument("--queries", type=int, default=1000)
    p.add_argument("--seed", type=int, default=1, help="the same seed gives the same set")
    p.add_argument("--k", type=int, default=100, help="exact neighbours of each query")
    p.add_argument("--format", choices=("binary", "text"), default="binary", help="of COPY")
    p.add_argument("--out", type=Path, help="folder for the files; without it, the set is only described")
    o = p.parse_args()
    if not 0 < o.k < o.documents or o.queries < 1:
        p.error("more documents than neighbours, and at least one query and one neighbour, are needed")
    start = time.monotonic()
    data = SparseDataset("splade", *generate(o.documents, o.queries, o.seed), k=o.k)
    truth = data.truth()
    if o.out:
        write(data, truth, o.out, o.format)
    print("\n".join(describe(data, truth)))
    print(f"{time.monotonic() - start:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
