"""Speed, measured side by side with others where that is fair. `benchmarks/README.md` has the results."""
