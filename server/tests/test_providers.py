"""What one provider, model or text does must not be felt by the others: prints TAP."""

import contextlib
import signal

import psycopg
from fake import Fake, vector
from harness import Running, collection, conn, drained, finish, leased, ok, one, sql, wait_for, wrong


def openai(fake, **settings):
    return ("openai", fake.url + "/v1", settings)


def asked(fake, word):
    return [texts for texts in list(fake.requests) if any(word in text for text in texts)]


def connections():
    return one("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'piramid worker' AND datname = current_database()")


def failed_of(table):
    return sql("SELECT failed, last_error FROM piramid.collection_status WHERE collection = %s::regclass", table)[0]


# Three providers that keep their threads busy, or have nothing to do before long, beside one that works.
well, hangs, paced, refuses = Fake(), Fake(), Fake(), Fake()
hangs.always = "hold"
refuses.always = 429
refuses.takes = 0.02
for name in ("hangs", "paced", "refuses", "well"):
    collection(name, name, 40)
worker = Running({"hangs": openai(hangs, timeout=900), "paced": openai(paced, requests_per_minute=0.1),
                  "refuses": openai(refuses), "well": openai(well)}, threads=2)
hangs.held.wait()
wait_for(lambda: drained("paced", but=24), "the first request of the provider that is paced")
wait_for(lambda: drained("well"), "the provider that works")
ok(wrong("well") == [], "a provider that works does not wait for others")
ok(0 < len(hangs.requests) <= 2 and drained("hangs", but=40) is False, "one that hangs keeps its own threads", len(hangs.requests))
ok(leased("paced") == 0 and len(paced.requests) == 1, "of one that is not due, nothing is leased", (leased("paced"), len(paced.requests)))
sql("SELECT piramid.add_document('well'::regclass, 'One more sentence.')")
wait_for(lambda: drained("well"), "a further document")
wait_for(lambda: len(refuses.requests) > 5, "some tries")
refused = len(refuses.requests)
ok(set(refuses.at_once[2:]) == {1}, "one that was in trouble is tried by one thread", refuses.at_once)
ok(refused < 200, "one that says 'again, at once' is not asked without end", refused)
ok(one("SELECT coalesce(max(attempts), 0) FROM refuses_job WHERE lease IS NULL") == 0, "and costs no attempts")

# All this time SIGTERM is heard: nothing stays leased, though a request hangs.
caught = next(line.split()[1] for line in open(f"/proc/{worker.process.pid}/status") if line.startswith("SigCgt"))
ok(not int(caught, 16) >> (signal.SIGTERM - 1) & 1, "SIGTERM has no handler, which could run in the middle of something", caught)
ok(worker.end() == 0, "SIGTERM ends a worker whose requests hang")
ok(leased("hangs") == 0, "and what was asked for is given back")
hangs.release.set()

# Of a provider's own threads, there may be another number.
hangs.held.clear()
hangs.release.clear()
hangs.requests.clear()
worker = Running({"hangs": openai(hangs, timeout=900, concurrency=3), "well": openai(well)}, threads=1)
wait_for(lambda: len(hangs.requests) == 3, "three requests at once")
ok(leased("hangs") == 40, "a provider may have more requests at once than others", leased("hangs"))
worker.end()
hangs.release.set()

# An answer that comes byte by byte is none.
hangs.release.clear()
hangs.always = "drip"
worker = Running({"hangs": openai(hangs, timeout=1)}, threads=1)
wait_for(lambda: one("SELECT count(*) FROM piramid.paused WHERE provider = 'hangs' AND error LIKE '%%TimeoutError'") == 1, "the end of a long answer")
ok(True, "an answer that does not end is given up in time")
worker.end()
hangs.release.set()
for name in ("hangs", "paced", "refuses", "well"):
    sql("SELECT piramid.drop_collection(%s::regclass, false)", name)
sql("DELETE FROM piramid.pause")

# SIGTERM while a document is cut by its meaning: its lease is given back, too.
fake = Fake()
fake.always = "hold"
sql("SELECT piramid.register_model('later', 'fake', 'm', 3, 100)")
sql("SELECT piramid.create_collection('later', 'later', chunking => '{\"strategy\": \"semantic\"}')")
sql("INSERT INTO later (body) VALUES ('Here is sentence 1. There is another one.')")
worker = Running({"fake": openai(fake, timeout=900)}, threads=1)
fake.held.wait()
ok(one("SELECT count(*) FROM later_uncut WHERE lease IS NOT NULL") == 1, "a document is leased")
ok(worker.end() == 0, "SIGTERM ends the worker")
ok(one("SELECT count(*) FROM later_uncut WHERE lease IS NULL") == 1, "a document's lease is given back")
fake.always = None
fake.release.set()

# SIGTERM as early as it can come, and while nothing is to be done for hours.
for poll in (0.2, 100000):
    wait_for(lambda: connections() == 0, "the end of connections")
    worker = Running({"fake": openai(fake)}, threads=4, poll=poll)
    wait_for(lambda: connections() > 0, "a connection")
    ok(worker.end() == 0, f"SIGTERM ends a worker that has just begun (poll {poll})")

# A model that the provider lacks fails with its jobs; other models of the provider go on.
fakes = {"openai": Fake(), "ollama": Fake()}
addresses = {kind: (kind, fake.url + ("/v1" if kind == "openai" else "")) for kind, fake in fakes.items()}
for kind, fake in fakes.items():
    fake.unknown = {"wrong-name"}
    collection(f"right_{kind}", kind, 20)
    collection(f"wrong_{kind}", kind, 20, model="wrong-name")
    sql("SELECT piramid.create_collection(%s, %s, chunking => '{\"strategy\": \"semantic\"}')", f"cut_{kind}", f"wrong_{kind}")
    sql(f"INSERT INTO cut_{kind} (body) VALUES ('Here is sentence 1. There is another one.')")
worker = Running(addresses, threads=1)
for kind, fake in fakes.items():
    wait_for(lambda: drained(f"right_{kind}"), f"{kind}: the model that is there")
    ok(one("SELECT count(*) FROM piramid.pause WHERE provider = %s", kind) == 0, f"{kind}: a model that is not there is not the provider's fault")
    wait_for(lambda: failed_of(f"wrong_{kind}")[0] == 20 and failed_of(f"cut_{kind}")[0] == 1, f"{kind}: the model that is not there")
    for table in ("wrong", "cut"):
        ok(failed_of(f"{table}_{kind}")[1] == 'the provider has no model "wrong-name" that embeds (HTTP 404)',
           f"{kind}, {table}: the status tells why", failed_of(f"{table}_{kind}"))
    sql("SELECT piramid.add_document(%s::regclass, 'One more sentence.')", f"right_{kind}")
    wait_for(lambda: drained(f"right_{kind}") and wrong(f"right_{kind}") == [], f"{kind}: a further document")
    fake.unknown = set()
    sql("SELECT piramid.requeue_failed(%s::regclass), piramid.requeue_failed(%s::regclass)", f"wrong_{kind}", f"cut_{kind}")
    wait_for(lambda: drained(f"wrong_{kind}") and one(f"SELECT count(*) FROM cut_{kind}_uncut") == 0 and drained(f"cut_{kind}"), f"{kind}: the model, once it is there")
    ok(wrong(f"wrong_{kind}") == [] and wrong(f"cut_{kind}") == [], f"{kind}: once the model is there, all is embedded")
worker.end()

# An address that is wrong is the whole provider's fault.
fake = Fake()
collection("address", "address", 3)
worker = Running({"address": ("openai", fake.url + "/v2")}, threads=1)
wait_for(lambda: one("SELECT count(*) FROM piramid.paused WHERE provider = 'address' AND error = 'HTTP 404'") == 1, "a pause")
ok(one("SELECT coalesce(max(attempts), 0) FROM address_job WHERE lease IS NULL") == 0, "a wrong address costs no attempts")
worker.end()
sql("SELECT piramid.drop_collection('address', false)")

# A text at which the provider breaks, again and again, fails alone.
def resets(fake):
    return "reset" if any("RESET" in text for text in fake.requests[-1]) else None


fakes = {"crash": Fake(), "reset": Fake()}
fakes["reset"].next_act = lambda: resets(fakes["reset"])
for word, fake in fakes.items():
    collection(word, word, 20)
    sql("SELECT piramid.add_document(%s::regclass, %s)", word, f"A sentence with {word.upper()}.")
worker = Running({"crash": openai(fakes["crash"]), "reset": ("ollama", fakes["reset"].url)}, threads=1)
for word, fake in fakes.items():
    wait_for(lambda: drained(word, but=1), f"{word}: the texts beside it")
    ok(wrong(word) == [], f"{word}: the texts beside it have their vectors", wrong(word))
    wait_for(lambda: failed_of(word)[0] == 1, f"{word}: the text")
    ok("while the provider answers to other texts" in failed_of(word)[1], f"{word}: the status tells why", failed_of(word))
    ok(one("SELECT count(*) FROM piramid.pause WHERE provider = %s", word) == 0, f"{word}: the provider is not paused")
    ok(len(asked(fake, word.upper())) < 40, f"{word}: the text is not asked for without end", len(asked(fake, word.upper())))
worker.end()

# A provider that breaks at every text is down: nothing counts against the texts.
fake = Fake()
fake.always = 500
collection("down", "down", 20)
worker = Running({"down": openai(fake)}, threads=1)
wait_for(lambda: len(fake.requests) >= 6, "some tries")
wait_for(lambda: leased("down") == 0, "their end")
ok(one("SELECT coalesce(max(attempts), 0) FROM down_job WHERE lease IS NULL") == 0, "a provider that is down costs no attempts")
fake.always = None
wait_for(lambda: drained("down"), "the provider that is up again")
ok(wrong("down") == [], "and when it is up again, all is embedded")
worker.end()

# Databases of other encodings.  In SQL_ASCII a text may be no UTF-8: then its bad bytes are told as such.
texts = {"LATIN1": "Voilà un café de Besançon.", "EUC_JP": "日本語の文章です。", "SQL_ASCII": "Voilà un café.", "UTF8": "Übung, 日本語, 🌍."}
names = {}
for encoding, text in texts.items():
    names[encoding] = f"{conn.info.dbname}_{encoding.lower()}"
    sql(f"DROP DATABASE IF EXISTS {names[encoding]}")
    sql(f"CREATE DATABASE {names[encoding]} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with contextlib.closing(psycopg.connect(dbname=names[encoding], autocommit=True, client_encoding="UTF8")) as other:
        other.execute("CREATE EXTENSION piramid")
        other.execute("CREATE EXTENSION piramid_collections")
        other.execute("SELECT piramid.register_model('m', 'fake', 'm', 3, 100, document_prefix => 'à: ')" if encoding != "EUC_JP" else
                      "SELECT piramid.register_model('m', 'fake', 'm', 3, 100)")
        other.execute("SELECT piramid.create_collection('docs', 'm')")
        other.execute("SELECT piramid.create_collection('cut', 'm', chunking => '{\"strategy\": \"semantic\"}')")
        for table in ("docs", "cut"):
            other.execute(f"INSERT INTO {table} (body) VALUES (%s)", (text,))
        if encoding == "SQL_ASCII":
            other.execute("SET client_encoding = 'SQL_ASCII'")
            other.execute(rb"INSERT INTO docs (body) VALUES (E'A sentence with a \xe9 of Latin 1.')")
fake = Fake()
worker = Running({"fake": openai(fake)}, threads=1, databases=names.values())
for encoding, text in texts.items():
    with contextlib.closing(psycopg.connect(dbname=names[encoding], autocommit=True, client_encoding="UTF8")) as other:
        if encoding == "SQL_ASCII":
            other.execute("SET client_encoding = 'SQL_ASCII'")

        def rows(statement):
            return [[value.decode(errors="replace") if isinstance(value, bytes) else value for value in row] for row in other.execute(statement).fetchall()]

        wait_for(lambda: rows("SELECT bool_and(embedded = chunks AND chunks > 0 AND coalesce(uncut, 0) = 0) FROM piramid.collection_status") == [[True]],
                 f"a database in {encoding}")
        prefix = "" if encoding == "EUC_JP" else "à: "
        stored = rows("SELECT text, embedding::text FROM docs_chunk JOIN docs_v1 ON chunk_id = id UNION ALL SELECT text, embedding::text FROM cut_chunk JOIN cut_v1 ON chunk_id = id")
        ok(len(stored) == (3 if encoding == "SQL_ASCII" else 2) and
           all([float(x) for x in v[1:-1].split(",")] == vector(prefix + t, 3) for t, v in stored), f"{encoding}: each vector is of its text", stored)
ok(any(text == "à: A sentence with a \ufffd of Latin 1." for texts in fake.requests for text in texts), "SQL_ASCII: bytes that are no UTF-8 are told as such")
worker.end()
for name in names.values():
    sql(f"DROP DATABASE {name} WITH (FORCE)")

finish()
