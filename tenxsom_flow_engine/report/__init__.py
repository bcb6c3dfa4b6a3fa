"""The report for operators: one set of figures, read from the store, behind every number that the engine shows."""
