"""Python job queues on Redis behind one face (`base.Peer`), each as its manual runs it so that jobs are kept.

A module here is named after the queue; it is the only one that imports it. `python -m benchmarks.peers` drives one.
"""
