"""The companion program of the extension piramid_collections."""

__version__ = "0.3.0"
