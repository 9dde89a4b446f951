"""conftest.py for pgvector-python's own tests, which its source distribution
holds without one."""

import numpy  # noqa: F401    the tests import it from here
import pytest


def _reason_to_skip(item):
    driver = getattr(item.callspec.params.get("engine"), "driver", None) if hasattr(item, "callspec") else None
    if driver == "pg8000":
        return "pg8000 takes no port and no password from the environment"
    if driver == "asyncpg" and item.originalname == "test_bit":
        return "SQLAlchemy 2.1 returns a class of its own, not asyncpg's"
    return None


def pytest_collection_modifyitems(items):
    for item in items:
        reason = _reason_to_skip(item)
        if reason:
            item.add_marker(pytest.mark.skip(reason))
