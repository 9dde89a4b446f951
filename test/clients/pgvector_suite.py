"""conftest.py for pgvector-python's own tests, which its source distribution
holds without one."""

import numpy  # noqa: F401    the tests import it from here

try:
    import scipy  # noqa: F401
except ImportError:
    scipy = None
