"""Queue backends, which deliver jobs to workers: their interface (`base`), and one module for each backend."""
