"""bench/once/sections.py: sections of the kernel's documentation, to be found by their headings.

Documents are the sections of the .rst files under a directory (Debian's linux-doc-6.1,
unpacked; without translations), each without its heading, its first 1,000 characters.
Queries are headings of at least two words that no other section has, each with its section
as the one relevant row.  Files are taken in the order of their paths' SHA-256 until there are
SECTIONS sections.  Nothing here was chosen by what a search finds.
"""

import gzip
import hashlib
import re
from pathlib import Path

SECTIONS = 5000
LEAST, MOST = 200, 1000         # characters of a section
MOST_TOKENS = 512               # of the model

# A line of text under which stands a line of one repeated sign, perhaps with one above, too
HEADING = re.compile(r"^(?:(?P<over>[=\-~^\"'`*+#.:_])(?P=over){2,}[ ]*\n)?[ ]?(?P<title>\S.*)\n"
                     r"(?P<under>[=\-~^\"'`*+#.:_])(?P=under){2,}[ ]*$", re.M)


def own_texts(page):
    """Heading and text of each section, without those of its subsections."""
    found = [match for match in HEADING.finditer(page)
             if len(match[0].rsplit("\n", 1)[1].strip()) >= len(match["title"].strip()) and re.search("[A-Za-z]", match["title"])]
    for heading, following in zip(found, [*found[1:], None]):
        text = " ".join(page[heading.end():following.start() if following else len(page)].split())
        if len(text) >= LEAST:
            yield heading["title"].strip(), text if len(text) <= MOST else text[:MOST + 1].rsplit(" ", 1)[0]


def read_sections(directory):
    """(title, text) of each section, equal texts once."""
    root = Path(directory)
    files = [(path.relative_to(root).as_posix(), path) for path in root.rglob("*.rst*")
             if path.name.endswith((".rst", ".rst.gz")) and "translations" not in path.parts]
    sections = {}
    for _, path in sorted(files, key=lambda file: hashlib.sha256(file[0].encode()).digest()):
        page = (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", errors="replace").read()
        for title, text in own_texts(page):
            sections.setdefault(text, title)
        if len(sections) >= SECTIONS:
            break
    return [(title, text) for text, title in sections.items()][:SECTIONS]


def asked(sections):
    """Row and heading of each query."""
    titles = [title.lower() for title, _ in sections]
    counts = {title: titles.count(title) for title in set(titles)}
    return [(row, title) for row, (title, _) in enumerate(sections)
            if counts[title.lower()] == 1 and len(re.findall("[A-Za-z]{2,}", title)) >= 2]


def fit(tokenizer, text):
    """A text with more tokens than the model takes is halved until it has fewer."""
    while len(tokenizer.encode(text).ids) > MOST_TOKENS:
        text = text[:len(text) // 2]
    return text


def write_vectors(path, directory, sections, queries):
    """Embeddings by the built-in model, in the layout of the other sets."""
    import h5py
    import tokenizers
    from piramid_server import local

    model = local.Model(directory)
    tokenizer = tokenizers.Tokenizer.from_file(str(Path(directory) / local.TOKENIZER))
    tokenizer.no_truncation()
    with h5py.File(path, "w") as data:
        data["train"] = model.embed([fit(tokenizer, text) for _, text in sections])
        data["test"] = model.embed([title for _, title in queries])
        data["relevant"] = [row for row, _ in queries]
