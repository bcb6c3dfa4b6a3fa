"""Fault injection for the whole engine, and a judge of the result: `make chaos`. See docs/architecture.md.

- `scenario`: one run for one queue backend. `cluster`: that queue backend with its servers and worker processes.
- `service_faults`: faults of the video services. `local_faults`: faults of workers, Redis, disk and deliveries.
- `operator`: what an operator does afterwards. `judge`: checks the guarantees.
- `fast_timings`: waits of a second instead of minutes.
"""
