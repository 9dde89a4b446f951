"""Where a document's meaning changes: between sentences whose vectors are far apart."""


def cut(starts, lengths, vectors, size, percentile):
    """Sentences to chunks of at most "size" characters: starts and lengths.

    A chunk ends where the next sentence is farther away than that share of all neighbours,
    but not before a quarter of the size.  Without vectors, only sizes decide.
    """
    if not starts:
        return [], []
    far = [1.0 - _cosine(a, b) for a, b in zip(vectors, vectors[1:])] if vectors else [0.0] * (len(starts) - 1)
    limit = sorted(far)[min(len(far) - 1, int(len(far) * percentile / 100))] if far else 0.0
    firsts = [0]
    for i in range(1, len(starts)):
        begin = starts[firsts[-1]]
        so_far = starts[i - 1] + lengths[i - 1] - begin
        if starts[i] + lengths[i] - begin > size or (so_far >= size / 4 and far[i - 1] > limit):
            firsts.append(i)
    lasts = [i - 1 for i in firsts[1:]] + [len(starts) - 1]
    return ([starts[i] for i in firsts],
            [starts[j] + lengths[j] - starts[i] for i, j in zip(firsts, lasts)])


def _cosine(a, b):
    product = sum(x * y for x, y in zip(a, b))
    norms = (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
    return product / norms if norms else 0.0
