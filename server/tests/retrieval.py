"""Which way of cutting finds a section by its heading?

    python server/tests/retrieval.py MODEL_DIRECTORY FILE.md...

Each file is cut in each way by piramid_chunk (libpq's environment names the database, which
has the extension piramid), or by the meaning of its sentences.  Lines of headings are taken
out of the chunks, which are embedded by the built-in model.  Each heading with a text of its
own of at least 300 characters is a query: is one of the five nearest chunks of that section?
Prints the share, with a 95% interval, for each way.
"""

import pathlib
import re
import sys

import numpy
import psycopg
from piramid_server import local, semantic

SIZE = 800
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.M)


def sections(text):
    """Heading, and where its own text begins and ends."""
    found = list(HEADING.finditer(text))
    for heading, following in zip(found, [*found[1:], None]):
        end = following.start() if following else len(text)
        if end - heading.end() >= 300:
            yield heading.group(1), heading.end(), end


def interval(hits):
    """Wilson's, for a share."""
    n, share, z = len(hits), sum(hits) / len(hits), 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * ((share * (1 - share) + z * z / (4 * n)) / n) ** 0.5 / (1 + z * z / n)
    return middle - half, middle + half


def main(directory, files):
    model = local.Model(directory)
    connection = psycopg.connect(autocommit=True)
    texts = [pathlib.Path(file).read_text(encoding="utf-8") for file in files]

    def chunks(text, strategy):
        if strategy != "semantic":
            return connection.execute("SELECT start, length FROM piramid_chunk(%s, %s, %s, 0)", (text, strategy, SIZE)).fetchall()
        rows = connection.execute("SELECT start, length, text FROM piramid_chunk(%s, 'sentence', %s, 0)", (text, SIZE)).fetchall()
        starts, lengths, sentences = (list(column) for column in zip(*rows))
        return list(zip(*semantic.cut(starts, lengths, model.embed(sentences).tolist(), SIZE, 90)))

    queries = [(number, *section) for number, text in enumerate(texts) for section in sections(text)]
    asked = model.embed([query[1] for query in queries])
    print(f"{len(texts)} files, {len(queries)} headings")
    for strategy in ("fixed", "recursive", "markdown", "sentence", "semantic"):
        places, words = [], []
        for number, text in enumerate(texts):
            for start, length in chunks(text, strategy):
                without = HEADING.sub("", text[start - 1:start - 1 + length]).strip()
                if without:
                    places.append((number, start - 1, start - 1 + length))
                    words.append(without)
        near = numpy.argsort(-(asked @ model.embed(words).T), axis=1)[:, :5]
        hits = []
        for (number, _, begin, end), row in zip(queries, near):
            hits.append(any(places[i][0] == number and 2 * (min(places[i][2], end) - max(places[i][1], begin)) >= places[i][2] - places[i][1]
                            for i in row))
        low, high = interval(hits)
        print(f"{strategy}: {len(words)} chunks, recall@5 {sum(hits) / len(hits):.3f} ({low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
