"""Actions on many jobs at once: bulk retry and cancel, moves between queues."""
