"""The worker processes: pull, push, and their maintenance."""
