"""A Cloud Tasks API server that delivers for real: for tests, and for laptops."""
