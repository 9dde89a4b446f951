"""For libraries that send no EXPLAIN: was an index used?  In the database that
the environment names."""

import time

import psycopg


def prefer_indexes():
    """For connections to come: a plan without an index costs too much."""
    with psycopg.connect(autocommit=True) as conn:
        conn.execute("DO $$ BEGIN EXECUTE format("
                     "'ALTER DATABASE %I SET enable_seqscan = off', current_database()); END $$")


def was_used(index):
    """A backend reports its scans when it is idle or ends: wait for that."""
    deadline = time.monotonic() + 60
    with psycopg.connect(autocommit=True) as conn:
        while time.monotonic() < deadline:
            found = conn.execute("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s", (index,)).fetchone()
            if found and found[0] > 0:
                return True
    return False
