"""Adapters of Python job queues on Redis to one interface (`base.Peer`), with the durable settings of their manuals.

Each module is named after its queue, and is the only one that imports it. `python -m benchmarks.peers` runs one.
"""
