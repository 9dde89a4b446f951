"""The worker against a fake provider: prints TAP."""

import os
import pathlib
import signal
import subprocess
import tempfile

import piramid_server.config
import psycopg
from fake import Fake
from harness import SECRET, Running, collection, conn, drained, finish, leased, ok, one, sql, wait_for, wrong
from piramid_server import semantic

# Each way to ask, with a provider that fails in every way, and then works.
for kind, path, failures in (("openai", "/v1", ["reset", "short", 429, 401, "redirect", "half"]), ("ollama", "", ["rubbish", 503, "half"])):
    fake = Fake(most=5)
    fake.script = failures
    collection(kind, kind, 12)
    words = ("POISON", "NAN", "ZERO", "WIDE", "HUGE", "EMPTY", "LETTERS")
    for word in words:
        sql("SELECT piramid.add_document(%s::regclass, %s)", kind, f"A sentence with {word}.")
    worker = Running({kind: (kind, fake.url + path)}, threads=1)
    wait_for(lambda: drained(kind, but=len(words)), f"{kind}: vectors")
    ok(True, f"{kind}: all that can be embedded is")
    ok(not fake.script, f"{kind}: after every kind of failure")
    ok(wrong(kind) == [], f"{kind}: each vector is of its text", wrong(kind))
    ok(fake.keys == {f"Bearer {SECRET}"}, f"{kind}: the key is sent")
    ok(max(map(len, fake.requests[-20:])) <= 16, f"{kind}: batches are as large as the model says")
    tell = f"SELECT split_part(text, ' ', 4), error FROM {kind}_job JOIN {kind}_chunk ON id = chunk_id"
    wait_for(lambda: all(error for _, error in sql(tell)), f"{kind}: errors")
    errors = dict(sql(tell))
    ok(len(errors) == len(words), f"{kind}: what cannot be tells why", errors)
    sql("SELECT piramid.add_document(%s::regclass, 'One more sentence.')", kind)
    wait_for(lambda: drained(kind, but=len(words)), f"{kind}: the further document")
    ok(worker.end() == 0, f"{kind}: SIGTERM ends the worker")
    ok(leased(kind) == 0, f"{kind}: nothing stays leased")

# Providers that are dead, or have no address, or refuse the key, beside one that works.
fake, refuses = Fake(), Fake()
refuses.always = 401
none = {"dead": ("http://127.0.0.1:1", "no answer: URLError"), "nowhere": ("http://nowhere.invalid/v1", "no answer: URLError"), "refuses": (refuses.url + "/v1", "HTTP 401")}
collection("alive", "alive", 5)
for name in none:
    collection(name, name, 5)
worker = Running({"alive": ("openai", fake.url + "/v1")} | {name: ("openai", url) for name, (url, _) in none.items()}, threads=1)
wait_for(lambda: drained("alive") and one("SELECT count(*) FROM piramid.pause WHERE provider = ANY (%s)", list(none)) == 3, "the provider that works")
ok(wrong("alive") == [], "a dead provider does not hold up another")
for name, (_, error) in none.items():
    # A job under a lease, when the pause has ended, counts that one attempt until it is given back.
    ok(one(f"SELECT max(attempts - (lease IS NOT NULL)::int) FROM {name}_job") == 0, f"{name}: costs its jobs no attempts")
    ok(one("SELECT error FROM piramid.paused WHERE provider = %s", name) == error, f"{name}: is told", sql("SELECT provider, error FROM piramid.paused"))
refuses.always = None
sql("DELETE FROM piramid.pause WHERE provider = 'refuses'")
wait_for(lambda: drained("refuses"), "a key that is accepted")
ok(wrong("refuses") == [], "once the key is accepted, all is embedded")
worker.end()

# A worker that looks seldom goes on when the pause of a provider ends, of which nobody tells.
fake.script = ["wait", "wait"]
collection("busy", "alive", 5)
worker = Running({"alive": ("openai", fake.url + "/v1")}, threads=1, poll=10000)
wait_for(lambda: drained("busy"), "the provider that was paused")
ok(not fake.script and wrong("busy") == [], "a pause lasts as long as the provider says, and no longer")
worker.end()

# A worker that has always something to do begins another version, too.
collection("never_idle", "alive", 5)
sql("SELECT piramid.register_model('another', 'alive', 'm', 3, 100)")
worker = Running({"alive": ("openai", fake.url + "/v1")}, threads=1)
wait_for(lambda: drained("never_idle"), "the first version")
fake.requests.clear()
busy = psycopg.connect(autocommit=True)
fake.on_request = lambda: len(fake.requests) > 200 or busy.execute(
    "SELECT piramid.add_document('never_idle', 'This is sentence %s of one who writes without end.')" % len(fake.requests))
sql("SELECT piramid.add_document('never_idle', 'And on it goes.')")
wait_for(lambda: len(fake.requests) > 20, "work without end")
sql("SELECT piramid.set_model('never_idle', 'another')")
wait_for(lambda: one("SELECT count(*) FROM never_idle_v2 AS v JOIN never_idle_chunk AS c ON c.id = chunk_id WHERE c.document_id <= 5") == 5, "the second version")
ok(len(fake.requests) < 200, "another version begins beside other work", len(fake.requests))
fake.on_request = lambda: None
worker.end()
sql("SELECT piramid.drop_collection('never_idle')")  # its work is not done

# A worker is killed while the provider works, and another takes over.
fake.script = ["hold"]
fake.requests.clear()
collection("killed", "alive", 10)
worker = Running({"alive": ("openai", fake.url + "/v1")}, threads=1, lease=2)
fake.held.wait()
ok(leased("killed") > 0, "a lease is held")
worker.end(signal.SIGKILL)
worker = Running({"alive": ("openai", fake.url + "/v1")}, threads=2, lease=2)
sql("UPDATE killed SET body = body || ' It has changed.' WHERE id <= 3")
wait_for(lambda: drained("killed"), "the second worker")
fake.release.set()
ok(wrong("killed") == [], "another worker takes over, and no vector is stale")
worker.end()

# Documents that are cut later: by their form, and by the meaning of sentences.
sql("SELECT piramid.register_model('later', 'alive', 'm', 3, 100)")
sql("SELECT piramid.create_collection('later', 'later', chunking => '{\"deferred\": true, \"size\": 60, \"overlap\": 0}')")
sql("SELECT piramid.create_collection('meaning', 'later', chunking => '{\"strategy\": \"semantic\", \"size\": 60}')")
for table in ("later", "meaning"):
    sql(f"INSERT INTO {table} (body) SELECT 'Here is sentence ' || n || '. There is another one. And a third follows at last.' FROM generate_series(1, 5) AS n")
sql("INSERT INTO meaning (body) VALUES (''), (NULL), ('POISON cannot be embedded. But it can be cut. By its size alone, that is.')")
worker = Running({"alive": ("openai", fake.url + "/v1")}, threads=2)
wait_for(lambda: one("SELECT bool_and(uncut = 0) FROM piramid.collection_status") and drained("later") and drained("meaning", but=1), "documents that are cut later")
for table in ("later", "meaning"):
    ok(one(f"SELECT count(*) > 9 FROM {table}_chunk") and wrong(table) == [], f"{table}: cut, and embedded", wrong(table))
    ok(one(f"SELECT count(*) FROM {table} AS d JOIN {table}_chunk AS c ON c.document_id = d.id WHERE substr(body, start, length) <> text OR length > 60") == 0, f"{table}: as in the document")

# A document keeps its lease as long as its sentences take.
worker.end()
sql("SELECT piramid.drop_collection('meaning', false)")       # whose poison is asked for again
worker = Running({"alive": ("openai", fake.url + "/v1")}, threads=2, lease=0.5)
sql("SELECT piramid.create_collection('long', 'later', chunking => '{\"strategy\": \"semantic\"}')")
fake.held.clear()
fake.release.clear()
fake.script = ["hold"]
sql("INSERT INTO long (body) VALUES ('Here is sentence 1. There is another one.')")
fake.held.wait()
lease, until = conn.execute("SELECT lease, lease_until FROM long_uncut").fetchone()
wait_for(lambda: one("SELECT lease_until > '%s'::timestamptz + interval '3 s' FROM long_uncut" % until), "a lease that begins anew")
ok(one("SELECT lease FROM long_uncut") == lease, "a document keeps its lease as long as its sentences take")
fake.release.set()
wait_for(lambda: one("SELECT count(*) FROM long_uncut") == 0 and drained("long"), "the document of a long request")
worker.end()
worker = Running({"alive": ("openai", fake.url + "/v1")}, threads=2)

# An owner's lock keeps one collection waiting, and no other; its vectors are not asked for twice.
sql("SELECT piramid.create_collection('locked', 'alive'), piramid.create_collection('open', 'alive')")
locker = psycopg.connect()
fake.held.clear()
fake.release.clear()
fake.script = ["hold"]
sql("SELECT piramid.add_document('locked'::regclass, 'This is sentence 1 of locked.')")
fake.held.wait()
locker.execute("LOCK TABLE locked_v1")
fake.release.set()
sql("SELECT piramid.add_document('open'::regclass, 'This is sentence 1 of open.')")
wait_for(lambda: one("SELECT count(*) FROM open_v1") == 1, "a collection beside one that is locked")
ok(leased("locked") == 1, "a lock: another collection goes on")
locker.rollback()
wait_for(lambda: one("SELECT count(*) FROM locked_v1") == 1, "the collection that was locked")
ok([texts for texts in fake.requests if "This is sentence 1 of locked." in texts] == [["This is sentence 1 of locked."]], "a lock: no vector is asked for twice")

# Another model: the worker queues what is there, and promotes what is complete.
sql("SELECT piramid.register_model('wide', 'wide', 'm', 4, 100), piramid.alter_collection('later', '{\"auto_promote\": true}'), piramid.set_model('later', 'wide')")
worker.end()
wide = Fake(dims=4)
worker = Running({"alive": ("openai", fake.url + "/v1"), "wide": ("openai", wide.url + "/v1")}, threads=2)
wait_for(lambda: one("SELECT version FROM piramid.version WHERE documents = 'later'::regclass AND state = 'active'") == 2, "the other model")
ok(one("SELECT count(*) FROM later_chunk") == one("SELECT count(*) FROM later_v2"), "another model is promoted when it is complete")

# What "check" says, and "init" makes.
def program(*arguments):
    return subprocess.run(["piramid-server", *map(str, arguments)], capture_output=True, text=True, env=os.environ | {"FAKE_KEY": SECRET})


config = worker.config
done = program("check", "--config", config)
ok(done.returncode == 1 and "ok: provider alive, model m" in done.stdout and "ok: database 1" in done.stdout and
   "not ok: provider dead of" in done.stdout, "check: what is well, and what is not", done.stdout + done.stderr)
made = config.with_name("made.toml")
done = program("init", "--config", made, "--dsn", f"dbname={conn.info.dbname} password='not of workers'", "--role", "a worker", "--no-check")
ok(done.returncode == 0 and 'made: role a worker' in done.stdout and "made: model local-minilm" in done.stdout, "init makes what is missing", done.stdout + done.stderr)
ok(made.stat().st_mode & 0o777 == 0o600 and piramid_server.config.read(made).providers["local"].type == "local", "init: a configuration that only the user reads")
ok("user='a worker'" in made.read_text() and "not of workers" not in made.read_text(), "init: the role, without the password of who made it", made.read_text())
done = program("init", "--config", made, "--dsn", f"dbname={conn.info.dbname}", "--role", "a worker", "--no-check")
ok(done.returncode == 0 and done.stdout == f"stays as it is: {made}\n", "init again makes nothing", done.stdout + done.stderr)
sql('DROP ROLE "a worker"')
done = program("model", "install", "--wheel", config, "--directory", config.with_name("model"))
ok(done.returncode == 1 and "has another SHA-256" in done.stderr, "model: another file is refused", done.stderr)
worker.end()

# Where meaning changes
vectors = [[1, 0], [1, 0.1], [0, 1], [0.1, 1]]
ok(semantic.cut([1, 11, 21, 31], [9, 9, 9, 9], vectors, 60, 60) == ([1, 21], [19, 19]), "semantic: between sentences that are far apart")
ok(semantic.cut([1, 11, 21, 31], [9, 9, 9, 9], vectors, 19, 100) == ([1, 21], [19, 19]), "semantic: at the size")
ok(semantic.cut([1, 11, 21], [9, 9, 9], [], 19, 90) == ([1, 21], [19, 9]), "semantic: without vectors")
ok(semantic.cut([], [], [], 19, 90) == ([], []), "semantic: nothing")

# What a configuration says wrong, it is told.
for text, said in (("", "databases is a list"), ('[worker]\ndatabases = ["x"]\n', "no providers"),
                   ('[worker]\ndatabases = ["x"]\n[providers.p]\ntype = "x"\n', 'type is "openai", "ollama" or "local"'),
                   ('[worker]\ndatabases = ["x"]\nthread = 1\n', "unknown thread"),
                   ('[worker]\ndatabases = ["x"]\nthreads = 0\n', "threads is at least 1"),
                   ('[worker]\ndatabases = ["x"]\nlease = 0\n', "lease is more than 0"),
                   ('[worker]\ndatabases = ["x"]\n[providers.p]\ntype = "local"\nconcurrency = 0\n', "concurrency is at least 1"),
                   ('[worker]\ndatabases = ["x"]\n[providers.p]\ntype = "openai"\nbase_url = "http://x"\nrequests_per_minute = -1\n', "requests_per_minute is"),
                   ('[worker]\ndatabases = ["x"]\n[providers.p]\ntype = "openai"\nbase_url = "file:///etc/passwd"\n', "begins with http"),
                   ('[worker]\ndatabases = ["x"]\n[providers.p]\ntype = "openai"\nbase_url = "http://x"\napi_key_env = "NO_SUCH"\n', "has no NO_SUCH")):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        done = subprocess.run(["piramid-server", "worker", "--config", file.name], capture_output=True, text=True)
    ok(done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr, f"configuration: {said}", done.stderr)

# The documented one is right.
page = (pathlib.Path(os.environ["DOCS"]) / "embedding.md").read_text()
with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
    file.write(page.split("```toml\n")[1].split("```")[0])
    file.flush()
    os.environ["OPENAI_API_KEY"] = SECRET
    read = piramid_server.config.read(file.name)
ok(set(read.providers) == {"my-provider", "my-ollama", "local"} and SECRET not in repr(read), "configuration: the documented one")

finish()
