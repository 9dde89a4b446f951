"""Connections to PostgreSQL: the only file that opens them or sends SQL.

Every statement is a call of a function of the schema piramid; what comes from outside
is a parameter.
"""

from dataclasses import dataclass

import psycopg

ConnectionLost = psycopg.OperationalError
Refused = psycopg.DataError


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


class Database:
    def __init__(self, conninfo):
        self._connection = psycopg.connect(conninfo, autocommit=True, application_name="piramid worker")
        # Names of collections come back qualified, and go out as they came.
        self._connection.execute("SELECT set_config('search_path', '', false)")

    def close(self):
        self._connection.close()

    def listen(self):
        self._connection.execute("LISTEN piramid_job")

    def wait(self, seconds):
        """Until there may be work, or the time is over."""
        for _ in self._connection.notifies(timeout=seconds, stop_after=1):
            pass

    def claim(self, providers, lease):
        rows = self._connection.execute(
            "SELECT collection::text, provider, model_id, dims, lease_token::text, chunk_id, text"
            " FROM piramid.claim(lease => make_interval(secs => %s), providers => %s)",
            (lease, list(providers))).fetchall()
        if not rows:
            return None
        return Batch(*rows[0][:5], [row[5] for row in rows], [row[6] for row in rows])

    def heartbeat(self, batch, lease):
        self._connection.execute("SELECT piramid.heartbeat(%s::regclass, %s::uuid, make_interval(secs => %s))",
                                 (batch.collection, batch.lease, lease))

    def complete(self, batch, ids, vectors):
        """Vectors are lists of numbers; returns how many are stored."""
        texts = ["[" + ",".join(map(repr, vector)) + "]" for vector in vectors]
        return self._connection.execute(
            "SELECT piramid.complete(%s::regclass, %s::uuid, %s::bigint[], %s::text[]::piramid.embedding[])",
            (batch.collection, batch.lease, ids, texts)).fetchone()[0]

    def fail(self, batch, error, scope, ids=None, retry_after=None):
        self._connection.execute(
            "SELECT piramid.fail(%s::regclass, %s::uuid, %s, %s, %s::bigint[], make_interval(secs => %s))",
            (batch.collection, batch.lease, error, scope, ids, retry_after))

    def queue_missing(self):
        """Chunks that have neither a vector nor a job get one, where the role may."""
        self._connection.execute(
            "SELECT piramid.queue_missing(documents) FROM piramid.collection"
            " WHERE has_table_privilege(chunks, 'UPDATE') AND has_table_privilege(jobs, 'INSERT')")
