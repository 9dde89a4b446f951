"""Connections to PostgreSQL: the only file that opens them or sends SQL.

Every statement is a call of a function of the schema piramid, but for what "init" makes;
what comes from outside is a parameter.
"""

import select
from dataclasses import dataclass

import psycopg
from psycopg import conninfo, sql

CONNECT_WITHIN = 30         # seconds

ConnectionLost = psycopg.OperationalError
Locked = psycopg.errors.LockNotAvailable        # one of those: to be caught before them
Refused = psycopg.DataError
Error = psycopg.Error


@dataclass(frozen=True)
class Batch:
    """A lease: texts of one collection, for one model of one provider."""

    collection: str
    provider: str
    model: str
    dims: int
    lease: str
    ids: list
    texts: list


@dataclass(frozen=True)
class Document:
    """A lease: the sentences of a document that is to be cut by their meaning."""

    collection: str
    provider: str
    model: str
    lease: str
    size: int
    percentile: float
    starts: list
    lengths: list
    sentences: list


class _Text(psycopg.adapt.Loader):
    """Texts of a database that does not know its encoding: UTF-8, as far as they are.  A chunk
    may begin or end inside of a character there."""

    def load(self, data):
        return bytes(data).decode("utf-8", "replace")


def _connect(dsn, name, **options):
    """With texts in UTF-8, whatever encoding the database has."""
    if "connect_timeout" not in conninfo.conninfo_to_dict(dsn):
        options["connect_timeout"] = CONNECT_WITHIN
    connection = psycopg.connect(dsn, client_encoding="UTF8", application_name=name, **options)
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        # As UTF8, what is none would be an error, for ever.
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        for kind in ("text", "varchar", "name"):
            connection.adapters.register_loader(kind, _Text)
    return connection


class Database:
    def __init__(self, dsn):
        self._connection = _connect(dsn, "piramid worker", autocommit=True)
        # Names of collections come back qualified, and go out as they came.
        self._connection.execute("SELECT set_config('search_path', '', false)")

    def close(self):
        self._connection.close()

    def listen(self):
        self._connection.execute("LISTEN piramid_job")

    def notified(self):
        """What has been notified until now."""
        return [told.payload for told in self._connection.notifies(timeout=0)]

    def wait(self, seconds, stop):
        """Until there may be work, the time is over, or the file "stop" can be read; what was notified."""
        told = self.notified()
        if not told:
            waiting = select.poll()
            waiting.register(self._connection.fileno(), select.POLLIN)
            waiting.register(stop, select.POLLIN)
            waiting.poll(1000 * seconds)
            told = self.notified()
        return told

    def claim(self, providers, lease):
        rows = self._connection.execute(
            "SELECT collection::text, provider, model_id, dims, lease_token::text, chunk_id, text"
            " FROM piramid.claim(lease => make_interval(secs => %s), providers => %s)",
            (lease, list(providers))).fetchall()
        if not rows:
            return None
        return Batch(*rows[0][:5], [row[5] for row in rows], [row[6] for row in rows])

    def heartbeat(self, leased, lease):
        self._connection.execute("SELECT piramid.heartbeat(%s::regclass, %s::uuid, make_interval(secs => %s))",
                                 (leased.collection, leased.lease, lease))

    def complete(self, batch, ids, vectors):
        """Vectors are lists of numbers; returns how many are stored."""
        texts = ["[" + ",".join(map(repr, vector)) + "]" for vector in vectors]
        return self._connection.execute(
            "SELECT piramid.complete(%s::regclass, %s::uuid, %s::bigint[], %s::text[]::piramid.embedding[])",
            (batch.collection, batch.lease, ids, texts)).fetchone()[0]

    def fail(self, batch, error, scope, ids=None, retry_after=None, attempts=5):
        self._connection.execute(
            "SELECT piramid.fail(%s::regclass, %s::uuid, %s, %s, %s::bigint[], make_interval(secs => %s), %s::int)",
            (batch.collection, batch.lease, error, scope, ids, retry_after, attempts))

    def cut_documents(self):
        """Documents that are cut by their form; returns how many were."""
        return self._connection.execute("SELECT piramid.cut_documents()").fetchone()[0]

    def claim_document(self, providers, lease):
        row = self._connection.execute(
            "SELECT collection::text, provider, model_id, lease_token::text, size, percentile, starts, lengths, sentences"
            " FROM piramid.claim_document(make_interval(secs => %s), %s)", (lease, list(providers))).fetchone()
        return row and Document(*row)

    def complete_document(self, document, starts, lengths):
        self._connection.execute("SELECT piramid.complete_document(%s::regclass, %s::uuid, %s::int[], %s::int[])",
                                 (document.collection, document.lease, starts, lengths))

    def release_document(self, document, error=None):
        """With an error, it is given up."""
        self._connection.execute("SELECT piramid.release_document(%s::regclass, %s::uuid, %s)",
                                 (document.collection, document.lease, error))

    def pause(self, provider, error, seconds):
        self._connection.execute("SELECT piramid.pause_provider(%s, %s, make_interval(secs => %s))", (provider, error, seconds))

    def sweep(self):
        """Queue chunks that have neither a vector nor a job, where the role may; returns how many."""
        return self._connection.execute("SELECT piramid.sweep()").fetchone()[0]

    def promote_finished(self):
        self._connection.execute("SELECT piramid.promote_finished()")

    def version(self):
        """Of the extension; None where it is missing."""
        row = self._connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'piramid_collections'").fetchone()
        return row and row[0]

    def models(self):
        """What versions need, which are not retired: collection, may it be served, provider, model, dims."""
        return self._connection.execute(
            "SELECT v.documents::text, piramid.works_for(v.documents, v.vectors), m.provider, m.model_id, m.dims"
            " FROM piramid.version AS v JOIN piramid.model AS m ON m.name = v.model"
            " WHERE v.state <> 'retired' ORDER BY 1, v.version").fetchall()


def with_user(dsn, user):
    """For the user, whose password is not the one that the other user has."""
    parts = conninfo.conninfo_to_dict(dsn)
    parts.pop("password", None)
    return conninfo.make_conninfo(**{**parts, "user": user})


def prepare(dsn, role, models):
    """Extensions, a role for workers, models: what is not there yet is made; says what was."""
    made = []
    with _connect(dsn, "piramid init") as connection:
        def missing(query, name):
            return connection.execute(query, (name,)).fetchone() is None

        # piramid may be there under its other name.
        if connection.execute("SELECT FROM pg_extension WHERE extname IN ('piramid', 'vector')").fetchone() is None:
            connection.execute("CREATE EXTENSION piramid")
            made.append("extension piramid")
        if missing("SELECT FROM pg_extension WHERE extname = %s", "piramid_collections"):
            connection.execute("CREATE EXTENSION piramid_collections")
            made.append("extension piramid_collections")
        if role is not None and missing("SELECT FROM pg_roles WHERE rolname = %s", role):
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
            made.append(f"role {role}")
        for name, provider, model_id, dims, tokens in models:
            if missing("SELECT FROM piramid.model WHERE name = %s", name):
                connection.execute("SELECT piramid.register_model(%s, %s, %s, %s, %s, batch_items => 32)",
                                   (name, provider, model_id, dims, tokens))
                made.append(f"model {name}")
    return made


def search(dsn, collection, vector, text, k):
    """Rows of score, title, text: by meaning and words."""
    with _connect(dsn, "piramid search") as connection:
        written = "[" + ",".join(map(repr, vector)) + "]"
        return connection.execute("SELECT score, title, heading_path, text FROM piramid.search(%s::regclass, %s::text::piramid.embedding, %s, k => %s)",
                                  (collection, written, text, k)).fetchall()


def model_of(dsn, collection):
    """The provider, model and prefix by which queries of a collection are embedded."""
    with _connect(dsn, "piramid search") as connection:
        return connection.execute(
            "SELECT m.provider, m.model_id, m.query_prefix FROM piramid.version AS v JOIN piramid.model AS m ON m.name = v.model"
            " WHERE v.documents = %s::regclass AND v.state = 'active'", (collection,)).fetchone()
