"""The video services: one contract (`base`) and one folder for each service."""
