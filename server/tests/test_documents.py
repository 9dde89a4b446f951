"""What docs/embedding.md tells the reader to type, typed: prints TAP.  DOCS is docs, INSTALLED
where the extension was installed for tests, WHEELS the packages of the built-in model, if they
are here."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import textwrap

import psycopg
from harness import conn, finish, ok, sql, wait_for

root = pathlib.Path(os.environ["DOCS"]).parent
wheels = os.environ.get("WHEELS")
page = (root / "docs" / "embedding.md").read_text()
work = pathlib.Path(tempfile.mkdtemp(prefix="piramid-"))
work.chmod(0o755)
env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
env |= {"HOME": str(work), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1"}
if wheels:
    env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels}


def blocks():
    """The indented commands, without what is said of them."""
    return [[line.split("   #")[0].strip() for line in textwrap.dedent(block).strip().splitlines()]
            for block in re.findall(r"(?<=\n\n)(?:    [^\n]+\n)+", page)]


def shell(command, **settings):
    done = subprocess.run(["bash", "-c", command], cwd=root, env=env, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **settings)
    return done.returncode, done.stdout


def typed(command, name):
    status, said = shell(command)
    ok(status == 0, f"{name}: {command.replace(str(work), '...')}", said)
    return said


quickstart, by_hand = blocks()
ok(quickstart == ["server/quickstart", "server/quickstart search WORDS..."], "the commands of the quickstart are those known here", quickstart)
ok(len(by_hand) == 4 and [line.split()[-1] for line in by_hand[1:]] == ["install", "worker.toml", "worker.toml"], "and those of an installation", by_hand)

# Without the built-in model.
pip = f"--no-index --find-links {wheels}" if wheels else ""
status, said = shell(f"make --no-print-directory PG_CONFIG='{os.environ['PG_CONFIG']}' install-server PREFIX={work}/plain PIP_OPTIONS='{pip}'")
ok(status == 0, "make install-server", said)
status, said = shell(f"{work}/plain/bin/piramid-server --version")
version = re.search(r'"(.+)"', (root / "server/piramid_server/__init__.py").read_text().split("__version__")[1])[1]
ok(said.strip() == version, "what it has installed runs", said)
ok(not list(work.glob("plain/lib/python*/site-packages/onnxruntime")), "and has no more than it needs")


def check_by_hand():
    """Installed, set up and run as the page says; then what the built-in model is to do."""
    database = f"{conn.info.dbname}_by_hand"
    sql(f"DROP DATABASE IF EXISTS {database}")
    sql(f"CREATE DATABASE {database}")
    lines = [line.replace("/opt/piramid", f"{work}/opt").replace("my_db", database).replace("worker.toml", f"{work}/worker.toml") for line in by_hand]
    for line in lines[:3]:
        said = typed(line, "by hand")
    ok("made: model local-minilm" in said and "ok: provider local, model all-MiniLM-L6-v2" in said, "init makes and checks", said)
    program = f"{work}/opt/bin/piramid-server"
    said = typed(f"{program} model check", "by hand")
    cosine = float(re.search(r"cosine to the known vectors at least ([0-9.]+)", said)[1])
    ok(cosine >= 0.9999, "the built-in model gives the vectors that it is known for", cosine)
    status, said = shell(f"{program} model check --directory {work}/nothing")
    ok(status == 1 and "has no model that works" in said, "a model that is not there", said)
    with contextlib.closing(psycopg.connect(dbname=database, autocommit=True)) as other:
        other.execute("SELECT piramid.create_collection('docs', 'local-minilm', chunking => '{\"size\": 10000}')")
        other.execute("SELECT piramid.create_collection('meaning', 'local-minilm', chunking => '{\"strategy\": \"semantic\"}')")
        for text in ("The cat sleeps on the sofa.", "Interest rates have risen again.", "The pump moves water.", "long words " * 300):
            other.execute("SELECT piramid.add_document('docs'::regclass, %s)", (text,))
        other.execute("SELECT piramid.add_document('meaning'::regclass, 'The cat sleeps on the sofa. It is tired. Banks lend money. Interest rates have risen.')")
        # Nothing of this needs a network.
        alone = ["unshare", "--net"] if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0 else []
        worker = subprocess.Popen([*alone, *lines[3].split()], env=env, cwd=root, stderr=subprocess.PIPE, text=True)

        def done():
            rows = other.execute("SELECT collection::text, chunks, embedded, coalesce(uncut, 0), last_error FROM piramid.collection_status ORDER BY 1").fetchall()
            return rows[0][2] == 3 and rows[0][4] and rows[1][1] > 0 and rows[1][1] == rows[1][2] and rows[1][3] == 0

        wait_for(done, "the built-in model")
        error = other.execute("SELECT last_error FROM piramid.collection_status WHERE collection = 'docs'::regclass").fetchone()[0]
        ok(re.fullmatch(r"\d+ tokens, and all-MiniLM-L6-v2 takes 512", error), "a text that is too long is not cut off, and fails", error)
        found = subprocess.run([*alone, program, "search", "--config", f"{work}/worker.toml", "-k", "1", "docs", "a feline is resting"],
                               env=env, capture_output=True, text=True)
        ok("The cat sleeps on the sofa." in found.stdout, f"a search by meaning{', without a network' if alone else ''}", found.stdout + found.stderr)
        worker.send_signal(signal.SIGTERM)
        said = worker.communicate(timeout=60)[1]
        ok(worker.returncode == 0 and "Traceback" not in said, "SIGTERM ends the worker", said)
    sql(f"DROP DATABASE {database} WITH (FORCE)")


def check_quickstart():
    """In a home of its own, with the extension that was built for the tests."""
    ready = work / "ready"
    ready.mkdir()
    make = ready / "make"
    make.write_text(f"""#!/bin/sh
for a; do case $a in DESTDIR=*) mkdir -p "${{a#DESTDIR=}}"; cp -a --remove-destination '{os.environ["INSTALLED"]}'/. "${{a#DESTDIR=}}";; esac; done
""")
    make.chmod(0o755)
    env.update(PIRAMID_HOME=f"{work}/q", PATH=f"{ready}:{env['PATH']}")
    for line in quickstart:
        said = typed(line.replace("WORDS...", "which rows does a filter leave out"), "quickstart")
        ok(re.search(r"^0\.\d{4}  ", said, re.M), "it finds something", said)
    said = typed(quickstart[0], "again")
    ok("is there already" in said, "again, it uses what is there", said)
    log = pathlib.Path(env["PIRAMID_HOME"]) / "worker.log"
    ok("Traceback" not in log.read_text(), "the worker's log is clean", log.read_text())
    typed("server/quickstart stop", "quickstart")
    typed("server/quickstart clean", "quickstart")
    ok(not (work / "q").exists(), "clean removes all of it")


try:
    if wheels:
        check_by_hand()
        if os.environ.get("INSTALLED"):
            check_quickstart()
    else:
        print("ok - the built-in model, the quickstart # skip a download of 150 MB: PIRAMID_TEST_LOCAL_MODEL=1 asks for it")
finally:
    shutil.rmtree(work, ignore_errors=True)
finish()
