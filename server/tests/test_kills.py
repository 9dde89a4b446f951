"""Whatever is killed, no vector is missing, stale, an orphan or there twice: in each round
workers, and in every third the server, get SIGKILL while documents come, change and go.  Then
every vector is compared with its text, in SQL.  Prints TAP.  PIRAMID_KILL_ROUNDS is the
number of rounds, PIRAMID_KILL_SEED begins the random numbers of what is done.
"""

import contextlib
import itertools
import os
import random
import signal
import threading

import psycopg
from fake import Fake
from private import Server

ROUNDS = int(os.environ.get("PIRAMID_KILL_ROUNDS", 6))
SEED = int(os.environ.get("PIRAMID_KILL_SEED", 1))
WORKERS, THREADS, WRITERS, CHANGES = 2, 2, 3, 25
server = Server("max_connections=60")

import harness  # noqa: E402   its server is the one that the environment names, which is now this one
from harness import Running, finish, ok, one, sql, wait_for  # noqa: E402

harness.conn.execute("""
    SELECT piramid.register_model('three', 'three', 'm-3', 3, 100, batch_items => 16),
        piramid.register_model('four', 'four', 'm-4', 4, 100, batch_tokens => 200), piramid.register_model('apart', 'apart', 'm', 3, 100);
    SELECT piramid.create_collection('docs', 'three', chunking => '{"size": 60, "overlap": 10}', filter_columns => '{"n": "integer"}');
    SELECT piramid.create_collection('later', 'three', chunking => '{"size": 60, "overlap": 0, "deferred": true}');
    SELECT piramid.create_collection('meaning', 'apart', chunking => '{"strategy": "semantic", "size": 60}');
    CREATE TABLE items (id int PRIMARY KEY, body text);
    SELECT piramid.attach_collection('items', 'body', 'three', chunking => '{"size": 60, "overlap": 0}');

    CREATE FUNCTION vector_of(text text, dims int) RETURNS text LANGUAGE sql AS $$
        SELECT '[' || string_agg((1 + get_byte(sha256(convert_to(text, 'UTF8')), i))::text, ',' ORDER BY i) || ']' FROM generate_series(0, dims - 1) AS i $$;
    CREATE FUNCTION count_of(query text, dims int, OUT n bigint) LANGUAGE plpgsql AS $$
        BEGIN EXECUTE format('SELECT count(*) FROM (%s) AS x', query) INTO n USING dims; END $$;

    -- What must not be, of each version of each collection.  Where the meaning decides, it is not known how a document is
    -- cut, but that its chunks are all of it.
    CREATE VIEW wrong AS
        SELECT v.vectors, w.what, count_of(format(w.query, c.chunks, v.vectors, c.jobs, c.documents, c.text_column, c.chunking ->> 'size', c.chunking ->> 'overlap', v.version), m.dims) AS n
        FROM piramid.collection AS c JOIN piramid.version AS v USING (documents) JOIN piramid.model AS m ON m.name = v.model, (VALUES
            ('missing', true, true, 'SELECT FROM %1$s LEFT JOIN %2$s ON chunk_id = id WHERE chunk_id IS NULL'),
            ('stale', true, true, 'SELECT FROM %1$s JOIN %2$s ON chunk_id = id WHERE embedding::text IS DISTINCT FROM vector_of(text, $1)'),
            ('orphans', true, true, 'SELECT FROM %2$s LEFT JOIN %1$s ON chunk_id = id WHERE id IS NULL'),
            ('twice', true, true, 'SELECT chunk_id FROM %2$s GROUP BY 1 HAVING count(*) > 1'),
            ('jobs', true, true, 'SELECT FROM %3$s WHERE version = %8$s'),
            ('not of a document', true, true, 'SELECT FROM %1$s AS c LEFT JOIN %4$s AS d ON d.id = c.document_id WHERE substr(d.%5$I, c.start, c.length) IS DISTINCT FROM c.text'),
            ('not as cut', true, false, 'SELECT d.id, x.ordinal, x.text FROM %4$s AS d, piramid_chunk(d.%5$I, NULL, %6$L, %7$L) AS x EXCEPT ALL SELECT document_id, ordinal, text FROM %1$s'),
            ('more than was cut', true, false, 'SELECT document_id, ordinal, text FROM %1$s EXCEPT ALL SELECT d.id, x.ordinal, x.text FROM %4$s AS d, piramid_chunk(d.%5$I, NULL, %6$L, %7$L) AS x'),
            ('not all of it', false, true, 'SELECT d.id, replace(d.%5$I, '' '', '''') FROM %4$s AS d EXCEPT ALL SELECT document_id, string_agg(replace(text, '' '', ''''), '''' ORDER BY ordinal) FROM %1$s GROUP BY 1')
        ) AS w(what, form, meaning, query) WHERE CASE WHEN c.chunking ->> 'strategy' = 'semantic' THEN w.meaning ELSE w.form END
        UNION ALL SELECT v.vectors, 'filter column', count_of(format('SELECT FROM docs AS d JOIN docs_chunk AS c ON c.document_id = d.id JOIN %s AS e ON chunk_id = c.id
            WHERE (d.metadata ->> ''n'')::int IS DISTINCT FROM c.n OR c.n IS DISTINCT FROM e.n', v.vectors), 0) FROM piramid.version AS v WHERE v.documents = 'docs'::regclass;
""")


class Told:
    """What happened, to be told at the end."""

    def __init__(self):
        self.changes = self.workers = self.servers = self.backends = self.vectors = self.given_up = self.good = 0
        self.asked = 0
        self.again = 0          # texts that the provider had been asked for before
        self.texts = set()
        self.failures = []


told = Told()
# What is cut by its meaning has a provider of its own, as that is asked for sentences, and then for chunks.
fakes = {"three": Fake(dims=3), "four": Fake(dims=4), "apart": Fake(dims=3)}
workers = []
killing = threading.Lock()
serial = itertools.count(1)
chance = random.Random(SEED)


def start_worker():
    with contextlib.redirect_stdout(None):
        workers.append(Running({name: ("openai", fake.url + "/v1") for name, fake in fakes.items()}, threads=THREADS, lease=0.5, poll=0.1))


def kill_worker():
    """In the middle of whatever it does."""
    with killing:
        worker = workers.pop(chance.randrange(len(workers)))
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
        seen(worker)
        told.workers += 1
        start_worker()


def seen(worker):
    """A worker that has ended: nobody else has ended it, or found it out of order."""
    log = worker.log.read_text()
    if "Traceback" in log or "sentence" in log:
        told.failures.append(log)
    worker.directory.cleanup()


def kill_server():
    """The whole server, or one process of it, at which the others end, too, and begin again."""
    with killing:
        if told.servers <= told.backends:
            server.kill()
            server.start()
            told.servers += 1
        else:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect() as connection:
                pids = connection.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' ORDER BY random() LIMIT 1").fetchone()
                os.kill(pids[0], signal.SIGKILL)
                told.backends += 1


def sentences():
    """Each is another, so that a text that is asked for twice is seen."""
    return " ".join(f"Sentence {next(serial)} says nothing new." for _ in range(chance.randrange(1, 8)))


def change():
    """A statement that changes documents, as a whole or not at all."""
    tables = "docs", "later", "meaning"
    table, key = chance.choice(tables), chance.randrange(20)
    return chance.choice(
        4 * [("SELECT piramid.add_document(%s::regclass, %s, metadata => jsonb_build_object('n', %s::int), external_id => %s::text)", table, sentences(), key % 5, key)]
        + 2 * [(f"UPDATE {table} SET body = body || ' ' || %s WHERE external_id = %s::text AND length(body) < 1500", sentences(), key)]
        + 2 * [(f"UPDATE {table} SET body = %s || substr(body, strpos(body, '.') + 1), updated_at = now() WHERE external_id = %s::text", f"Sentence {next(serial)} has been changed.", key)]
        + [("UPDATE docs SET metadata = jsonb_build_object('n', %s::int) WHERE external_id = %s::text", key % 5, key)]
        + 2 * [(f"DELETE FROM {table} WHERE external_id = %s::text", key)]
        + [(f"INSERT INTO {table} (body) SELECT unnest(%s::text[])", [sentences() for _ in range(10)])]
        + [(f"DELETE FROM {table} WHERE external_id IS NULL AND id %% 3 <> 0",)]
        + 2 * [("INSERT INTO items VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET body = excluded.body", key, sentences())]
        + [("DELETE FROM items WHERE id = %s", key)]
        + ([("TRUNCATE items",), (f"TRUNCATE {table} CASCADE",)] if chance.random() < 0.2 else []))


def is_gone(error):
    """Is it what a server says, or does not say, when it dies or begins?"""
    return error.sqlstate in (None, "57P01", "57P02", "57P03")


def connected(**options):
    """A connection, once the server that was killed is there again."""
    found = []

    def connect():
        with contextlib.suppress(psycopg.OperationalError):
            found.append(psycopg.connect(**options))
        return found

    wait_for(connect, "the server")
    return found[0]


def write(events):
    """A writer's part of a round; "events" says what happens with which change, before it is committed."""
    connection = connected()
    for n in range(CHANGES):
        try:
            statement, *values = change()
            connection.execute(statement, values)
            for event in events.get(n, ()):
                event()
            if chance.random() < 0.1:
                connection.rollback()
            else:
                connection.commit()
            told.changes += 1
        except psycopg.OperationalError as error:
            if not is_gone(error):
                told.failures.append(f"{error.sqlstate}: {error}")
            connection.close()
            connection = connected()
        except Exception as error:
            told.failures.append(repr(error))
            raise
    connection.close()


def asked(fake):
    """Some workers die while the provider works, perhaps for them.  Called with each request."""
    for text in fake.requests.pop():
        told.asked += 1
        told.again += fake is not fakes["apart"] and (fake, text) in told.texts
        told.texts.add((fake, text))
    if chance.random() < 0.05 and not killing.locked():
        kill_worker()


def complete():
    """Everything has its vector.  What was given up, since workers died with it five times, is tried again."""
    try:
        rows = sql("SELECT collection::text, coverage = 1 AND uncut = 0 AND leased = 0, failed FROM piramid.collection_status")
        for name, _, failed in rows:
            if failed > 0:
                told.given_up += failed
                sql("SELECT piramid.requeue_failed(%s::regclass)", name)
        return all(done and failed == 0 for _, done, failed in rows)
    except psycopg.OperationalError as error:
        if not is_gone(error):
            told.failures.append(f"{error.sqlstate}: {error}")
        harness.conn = connected(autocommit=True)
        return False


def another_model(number):
    """Every fifth round one collection gets another model, and the next one is rid of the first."""
    version = one("SELECT max(version) FROM piramid.version WHERE documents = 'docs'::regclass")
    if number % 5 == 2:
        sql("SELECT piramid.set_model('docs', %s)", ("four", "three")[version % 2 == 0])
    elif number % 5 == 3:
        sql("SELECT piramid.promote('docs', %s)", version)
        sql("SELECT piramid.drop_version('docs', %s)", version - 1)


def play(number):
    events = {}
    for kill in [kill_worker] * chance.randrange(1, 4) + [kill_server] * (number % 3 == 0):
        events.setdefault((chance.randrange(WRITERS), chance.randrange(CHANGES)), []).append(kill)
    another_model(number)
    writers = [threading.Thread(target=write, args=({n: kills for (writer, n), kills in events.items() if writer == i},)) for i in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    harness.conn = connected(autocommit=True)
    wait_for(complete, f"all vectors of round {number}", 300)
    found = sql("SELECT vectors::text, what, n FROM wrong WHERE n > 0")
    told.vectors += one("SELECT sum(embedded)::int FROM piramid.collection_status")
    told.good += not found and not told.failures
    if found or told.failures:
        ok(False, f"round {number} (seed {SEED})", (found, told.failures))
        finish()


for fake in fakes.values():
    fake.takes = 0.02
    fake.on_request = lambda fake=fake: asked(fake)
for _ in range(WORKERS):
    start_worker()
for number in range(1, ROUNDS + 1):
    play(number)
ok(told.good == ROUNDS, f"{ROUNDS} rounds: coverage 1, no vector stale, orphaned or twice")
ok(told.workers >= ROUNDS and told.servers + told.backends >= ROUNDS // 3, "of workers and servers that were killed",
   (told.workers, told.servers, told.backends))
for worker in workers:
    with contextlib.redirect_stdout(None):
        worker.end()
    seen(worker)
ok(not told.failures, "nobody failed, but for who lost the server", told.failures)
print(f"# seed {SEED}: {told.changes} changes; killed: {told.workers} workers, {told.servers} servers, {told.backends} backends; {told.vectors} vectors compared; "
      f"{told.asked} texts asked for, {told.again} of them again; {told.given_up} given up, and tried again")
finish()
