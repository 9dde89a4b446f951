"""The worker against a fake provider: prints TAP."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import piramid_server.config
import psycopg
from fake import Fake, vector

SECRET = "a-key-that-stays-secret"
n = failed = 0


def ok(condition, name, detail=""):
    global n, failed
    n += 1
    failed += not condition
    print(f"{'ok' if condition else 'not ok'} {n} - {name}", flush=True)
    if not condition and detail:
        print(f"# {detail}", flush=True)


def wait_for(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"timed out waiting for {what}")
        time.sleep(0.05)


conn = psycopg.connect(autocommit=True)


def sql(statement, *values):
    cursor = conn.execute(statement, values)
    return cursor.fetchall() if cursor.description else None


def one(statement, *values):
    return sql(statement, *values)[0][0]


class Running:
    """A worker process."""

    def __init__(self, providers, **settings):
        self.directory = tempfile.TemporaryDirectory()
        config = pathlib.Path(self.directory.name) / "worker.toml"
        lines = ["[worker]", f'databases = ["dbname={conn.info.dbname}"]', "poll = 0.2"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        for name, (kind, url) in providers.items():
            lines += [f"[providers.{name}]", f'type = "{kind}"', f'base_url = "{url}"', 'api_key_env = "FAKE_KEY"', "timeout = 30"]
        config.write_text("\n".join(lines) + "\n")
        self.log = pathlib.Path(self.directory.name) / "log"
        self.process = subprocess.Popen(
            ["piramid-server", "worker", "--config", str(config)], env=os.environ | {"FAKE_KEY": SECRET}, stderr=self.log.open("w"))

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = self.process.wait(60)
        text = self.log.read_text()
        ok(SECRET not in text and "Traceback" not in text and "sentence" not in text, "the log has no key, text or traceback", text)
        return status


def wrong(table):
    """Vectors that are not of their text."""
    rows = sql(f"SELECT text, embedding::text FROM {table}_chunk JOIN {table}_v1 ON chunk_id = id")
    return [text for text, v in rows if [float(x) for x in v[1:-1].split(",")] != vector(text, 3)]


def status(table):
    row = sql("SELECT chunks, embedded, leased FROM piramid.collection_status WHERE collection = %s::regclass", table)
    return row[0]


def drained(table, but=0):
    chunks, embedded, leased = status(table)
    return chunks - embedded == but and leased == 0


sql("CREATE EXTENSION piramid")
sql("CREATE EXTENSION piramid_collections")


def collection(table, provider, documents):
    sql("SELECT piramid.register_model(%s, %s, 'm', 3, 100, batch_items => 16)", table, provider)
    sql("SELECT piramid.create_collection(%s, %s)", table, table)
    for i in range(documents):
        sql("SELECT piramid.add_document(%s::regclass, %s)", table, f"This is sentence {i} of {table}.")


# Each way to ask, with a provider that fails in every way, and then works.
for kind, path, failures in (("openai", "/v1", ["reset", "short", 429, 401, "redirect"]), ("ollama", "", ["rubbish", 503])):
    fake = Fake(most=5)
    fake.script = failures
    collection(kind, kind, 12)
    for word in ("POISON", "NAN", "ZERO", "WIDE"):
        sql("SELECT piramid.add_document(%s::regclass, %s)", kind, f"A sentence with {word}.")
    worker = Running({kind: (kind, fake.url + path)}, threads=1)
    wait_for(lambda: drained(kind, but=4), f"{kind}: vectors")
    ok(True, f"{kind}: all that can be embedded is")
    ok(not fake.script, f"{kind}: after every kind of failure")
    ok(wrong(kind) == [], f"{kind}: each vector is of its text", wrong(kind))
    ok(fake.keys == {f"Bearer {SECRET}"}, f"{kind}: the key is sent")
    ok(max(map(len, fake.requests[-20:])) <= 16, f"{kind}: batches are as large as the model says")
    errors = dict(sql(f"SELECT split_part(text, ' ', 4), error FROM {kind}_job JOIN {kind}_chunk ON id = chunk_id"))
    ok(len(errors) == 4 and all(errors.values()), f"{kind}: what cannot be tells why", errors)
    sql("SELECT piramid.add_document(%s::regclass, 'One more sentence.')", kind)
    wait_for(lambda: drained(kind, but=4), f"{kind}: the further document")
    ok(worker.end() == 0, f"{kind}: SIGTERM ends the worker")
    ok(one(f"SELECT count(*) FROM {kind}_job WHERE lease IS NOT NULL") == 0, f"{kind}: nothing stays leased")

# A provider that is dead, beside one that works.
fake = Fake()
collection("alive", "alive", 5)
collection("dead", "dead", 5)
worker = Running({"alive": ("openai", fake.url), "dead": ("openai", "http://127.0.0.1:1")}, threads=1)
wait_for(lambda: drained("alive") and one("SELECT count(*) FROM piramid.pause WHERE provider = 'dead'") == 1, "the provider that works")
ok(wrong("alive") == [], "a dead provider does not hold up another")
ok(one("SELECT max(attempts) FROM dead_job WHERE lease IS NULL") == 0, "and costs its jobs no attempts")
worker.end()

# A worker is killed while the provider works, and another takes over.
fake.script = ["hold"]
fake.requests.clear()
collection("killed", "alive", 10)
worker = Running({"alive": ("openai", fake.url)}, threads=1, lease=2)
fake.held.wait()
ok(one("SELECT count(*) > 0 FROM killed_job WHERE lease IS NOT NULL"), "a lease is held")
worker.end(signal.SIGKILL)
worker = Running({"alive": ("openai", fake.url)}, threads=2, lease=2)
sql("UPDATE killed SET body = body || ' It has changed.' WHERE id <= 3")
wait_for(lambda: drained("killed"), "the second worker")
fake.release.set()
ok(wrong("killed") == [], "another worker takes over, and no vector is stale")
worker.end()

# What a configuration says wrong, it is told.
for text, said in (("", "databases is a list"), ('[worker]\ndatabases = ["x"]\n', "no providers"),
                   ('[worker]\ndatabases = ["x"]\n[providers.p]\ntype = "x"\n', 'type is "openai" or "ollama"'),
                   ('[worker]\ndatabases = ["x"]\nthread = 1\n', "unknown thread"),
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
ok(set(read.providers) == {"my-provider", "my-ollama"} and SECRET not in repr(read), "configuration: the documented one")

print(f"1..{n}")
sys.exit(failed > 0)
