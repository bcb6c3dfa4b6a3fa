"""The Python API: `QueueManager` and the rate limiter for other programs."""
