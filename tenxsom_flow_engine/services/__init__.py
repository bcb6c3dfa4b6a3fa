"""The video services: one contract (`base`), one module or folder for each service."""
