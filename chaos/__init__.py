"""A storm over the whole engine, and a judge of what it left: `make chaos`. What, how and why: docs/architecture.md.

- `ordeal`: the order of it all, for one queue backend; `site`: that queue backend with its servers and `workers`.
- `weather`: what goes wrong at the video services; `storm`: what goes wrong on our side.
- `person`: what a person does afterwards; `judge`: which promise was broken.
- `haste`: minutes become seconds.
"""
