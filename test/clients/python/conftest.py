import os

import psycopg
import pytest
from pgvector.psycopg import register_vector


@pytest.fixture(scope="session", autouse=True)
def extension():
    with psycopg.connect() as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS piramid")


def connect(**options):
    """A connection in a schema of its own, dropped at the end."""
    with psycopg.connect(autocommit=True, **options) as conn:
        conn.execute("CREATE SCHEMA test")
        conn.execute("SET search_path = test, public")
        register_vector(conn)
        try:
            yield conn
        finally:
            conn.execute("DROP SCHEMA test CASCADE")


@pytest.fixture
def conn():
    yield from connect()


@pytest.fixture
def tcp():
    yield from connect(host=os.environ["PGTCPHOST"], port=os.environ["PGTCPPORT"])
