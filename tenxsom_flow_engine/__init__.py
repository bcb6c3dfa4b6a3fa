"""Topics in, videos out: a job engine for paid video generation that keeps every job and pays once."""

__version__ = "0.1.0"
