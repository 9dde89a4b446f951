"""bench/once/documents.py: real documents keep the law of piramid_chunk (src/chunk/README.md).

    python bench/once/documents.py [--texts N] DIRECTORY...

Documents are the files under the directories that are UTF-8, as they are or compressed, of
2,000 to 500,000 characters; of each directory the same number, in the order of their paths'
SHA-256, equal texts once. Each is cut with every strategy and unit, by the defaults and into
smaller pieces. Then its middle is edited in four ways, and the chunks that are new are counted
(but for `fixed`, where all behind an edit move). At the end, lines of 10 MB.

The server is the one that libpq's environment names, with piramid in a database of UTF8; times
are processor seconds of its backend, if it runs on this machine (Linux), else by the clock.
"""

import argparse
import collections
import gzip
import hashlib
import re
import time
from pathlib import Path

import psycopg

STRATEGIES = ("fixed", "recursive", "markdown", "sentence")
WAYS = ((1000, 100, "chars"), (120, 0, "chars"), (1000, 100, "bytes"), (90, 45, "bytes"), (150, 15, "words"), (20, 5, "words"))
LEAST, MOST = 2000, 500_000     # characters of a document
MOST_NEW = 5                    # chunks after an edit
BLANK = " \t\n\r\f\v"
CUT = "SELECT ordinal, start, length, text FROM piramid_chunk(%s, %s, %s, %s, %s)"
FENCE = re.compile(r"^ {0,3}(```|~~~)", re.M)
PLACE = re.compile(r"\n[ \t]*\n")
PARAGRAPH = "A new paragraph stands here. It says nothing of what is around it."


def read(path):
    """The text of a file, or None if it is no document."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            text = file.read().decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError):
        return None
    return text if LEAST <= len(text) <= MOST and "\0" not in text else None


def documents(directories, wanted):
    """Texts, the same number from each directory as far as there are so many."""
    sources = []
    for directory in directories:
        files = [path for path in Path(directory).rglob("*") if path.is_file() and not path.is_symlink()]
        sources.append(iter(sorted(files, key=lambda path: hashlib.sha256(path.relative_to(directory).as_posix().encode()).digest())))
    texts = {}
    while sources and len(texts) < wanted:
        for source in list(sources):
            text = next((text for text in map(read, source) if text is not None and text not in texts), None)
            if text is None:
                sources.remove(source)
            elif len(texts) < wanted:
                texts[text] = True
    return list(texts)


def count_units(text, unit):
    """As piramid_chunk counts; its blanks are those of ASCII."""
    if unit == "words":
        return len(re.findall(r"[^ \t\n\r\f\v]+", text))
    return len(text) if unit == "chars" else len(text.encode())


def breaches(body, chunks, size, unit):
    """What of the law these chunks break."""
    began, ended = 0, 0
    for n, (ordinal, start, length, text) in enumerate(chunks):
        if body[start - 1:start - 1 + length] != text:
            yield f"text of {ordinal}"
        if ordinal != n or start <= began:
            yield f"order of {ordinal}"
        if body[ended:start - 1].strip(BLANK):
            yield f"not covered before {ordinal}"
        if count_units(text, unit) > size:
            yield f"{ordinal} is too long"
        began, ended = start, max(ended, start + length - 1)
    if body[ended:].strip(BLANK):
        yield "not covered at the end"


def edits(body):
    """Texts with another middle: at the paragraph there, or where there are none at the line."""
    middle = len(body) // 2
    places = [match.end() for match in PLACE.finditer(body)] or [match.end() for match in re.finditer("\n", body)]
    at = next((place for place in places if place >= middle), middle)
    following = next((place for place in places if place > at), len(body))
    yield "added", body[:at] + PARAGRAPH + "\n\n" + body[at:]
    yield "changed", body[:at] + PARAGRAPH + "\n\n" + body[following:]
    yield "removed", body[:at] + body[following:]
    yield "a word added", body[:at] + "word " + body[at:]


def cut(conn, body, strategy, size, overlap, unit):
    return conn.execute(CUT, (body, strategy, size, overlap, unit), prepare=True).fetchall()


def try_document(conn, body, counts, new, broken):
    for strategy in STRATEGIES:
        for size, overlap, unit in WAYS:
            chunks = cut(conn, body, strategy, size, overlap, unit)
            counts["cuts"] += 1
            counts["chunks"] += len(chunks)
            broken += [f"{strategy}, {size} {unit}: {what} of {body[:40]!r}" for what in breaches(body, chunks, size, unit)]
        if strategy == "fixed":
            continue
        before = {text for _, _, _, text in cut(conn, body, strategy, 1000, 100, "chars")}
        for kind, edited in edits(body):
            chunks = cut(conn, edited, strategy, 1000, 100, "chars")
            broken += [f"{strategy}, {kind}: {what} of {body[:40]!r}" for what in breaches(edited, chunks, 1000, "chars")]
            fences = strategy == "markdown" and len(FENCE.findall(body)) % 2 != len(FENCE.findall(edited)) % 2
            new[strategy, "one of two fences" if fences else kind].append(len([1 for *_, text in chunks if text not in before]))


def cpu_seconds(pid):
    """Of the backend, or by the clock where it is elsewhere."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return time.monotonic()


def measure_lines(conn, texts):
    """10 MB in one line, with every strategy: the least of three."""
    line = re.sub(r"\s+", " ", " ".join(texts)).encode()
    while len(line) < 10_000_000:
        line *= 2
    ideographs = re.sub(r"[^\u3041-\u9fff]", "", line.decode()).encode()
    lines = {"the documents": line, "one letter": b"x" * 10_000_000, "words of a letter": b"a " * 5_000_000}
    if ideographs:
        lines["ideographs of the documents, no blanks"] = ideographs * (10_000_000 // len(ideographs) + 1)
    conn.execute("CREATE TEMP TABLE line (body text STORAGE EXTERNAL)" if conn.info.server_version >= 160000 else
                 "CREATE TEMP TABLE line (body text); ALTER TABLE line ALTER body SET STORAGE EXTERNAL")
    pid = conn.info.backend_pid
    for name, value in lines.items():
        conn.execute("TRUNCATE line")
        conn.execute("INSERT INTO line VALUES (%s)", (value[:10_000_000].decode(errors="ignore"),))
        took = []
        for strategy in STRATEGIES:
            least = []
            for _ in range(3):
                began = cpu_seconds(pid)
                conn.execute("SELECT count(*) FROM line, piramid_chunk(body, %s)", (strategy,))
                least.append(cpu_seconds(pid) - began)
            took.append(f"{strategy} {min(least):.2f}")
        print(f"10 MB in one line, {name}: {', '.join(took)} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+")
    parser.add_argument("--texts", type=int, default=1000)
    options = parser.parse_args()
    texts = documents(options.directories, options.texts)
    foreign = sum(sum(c > "\x7f" for c in text) > len(text) / 50 for text in texts)
    print(f"{len(texts)} documents, {sum(map(len, texts)):,} characters; {foreign} with more than 2% outside of ASCII", flush=True)
    counts, new, broken = collections.Counter(), collections.defaultdict(list), []
    with psycopg.connect(autocommit=True) as conn:
        for body in texts:
            try_document(conn, body, counts, new, broken)
        print(f"{counts['cuts']:,} cuts, {counts['chunks']:,} chunks: {len(broken)} breaches", *broken[:20], sep="\n")
        for (strategy, kind), numbers in new.items():
            print(f"new chunks, {strategy}, {kind}: {len(numbers)} edits, {sum(numbers) / len(numbers):.2f} on average, "
                  f"{max(numbers)} at most, {sum(n > MOST_NEW for n in numbers)} above {MOST_NEW}", flush=True)
        measure_lines(conn, texts)


main()
