"""A Cloud Tasks API server that really delivers tasks: for tests and laptops."""
