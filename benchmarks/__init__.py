"""Benchmarks, with other libraries for comparison where that is fair. `benchmarks/README.md` has the results."""
