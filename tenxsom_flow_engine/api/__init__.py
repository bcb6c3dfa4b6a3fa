"""The HTTP API for other programs: routes below `/api/v1`, their types, keys, and the OpenAPI document.

A group of routes is a module with `ROUTES` (see `routes`), listed in `blueprint`. The web layer hands in the engine.
"""
