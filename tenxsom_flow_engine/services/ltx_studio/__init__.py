"""LTX, over its own API."""
