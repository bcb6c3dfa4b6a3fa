"""How a job reaches a worker: one contract (`base`), one module for each queue backend."""
