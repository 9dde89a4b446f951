"""What the tests share: TAP without numbers (run adds the plan), and a worker's process."""

import atexit
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import psycopg
from fake import vector

SECRET = "a-key-that-stays-secret"
failed = 0


def ok(condition, name, detail=""):
    global failed
    failed += not condition
    print(f"{'ok' if condition else 'not ok'} - {name}", flush=True)
    if not condition and detail:
        print("# " + str(detail).replace("\n", "\n# "), flush=True)


def wait_for(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"timed out waiting for {what}")
        time.sleep(0.05)


def finish():
    sys.exit(failed > 0)


conn = psycopg.connect(autocommit=True)


def sql(statement, *values):
    cursor = conn.execute(statement, values)
    return cursor.fetchall() if cursor.description else None


def one(statement, *values):
    return sql(statement, *values)[0][0]


class Running:
    """A worker process.  Providers are (type, address), or with settings of their own."""

    def __init__(self, providers, databases=(conn.info.dbname,), **settings):
        self.directory = tempfile.TemporaryDirectory()
        self.config = pathlib.Path(self.directory.name) / "worker.toml"
        lines = ["[worker]", f"databases = {[f'dbname={name}' for name in databases]}"]
        lines += [f"{name} = {value}" for name, value in ({"poll": 0.2} | settings).items()]
        for name, (kind, url, *more) in providers.items():
            lines += [f"[providers.{name}]", f'type = "{kind}"', f'base_url = "{url}"', 'api_key_env = "FAKE_KEY"']
            lines += [f"{key} = {value}" for key, value in ({"timeout": 30} | dict(*more)).items()]
        self.config.write_text("\n".join(lines) + "\n")
        self.log = pathlib.Path(self.directory.name) / "log"
        self.process = subprocess.Popen(
            ["piramid-server", "worker", "--config", str(self.config)], env=os.environ | {"FAKE_KEY": SECRET}, stderr=self.log.open("w"))
        atexit.register(self.process.kill)

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


def leased(table):
    return one(f"SELECT count(*) FROM {table}_job WHERE lease IS NOT NULL")


def collection(table, provider, documents, model="m"):
    sql("SELECT piramid.register_model(%s, %s, %s, 3, 100, batch_items => 16)", table, provider, model)
    sql("SELECT piramid.create_collection(%s, %s)", table, table)
    for i in range(documents):
        sql("SELECT piramid.add_document(%s::regclass, %s)", table, f"This is sentence {i} of {table}.")


sql("CREATE EXTENSION IF NOT EXISTS piramid")
sql("CREATE EXTENSION IF NOT EXISTS piramid_collections")
