#!/usr/bin/env python3
"""The worker that pulls jobs from the embedded queue; `python3 worker.py --help` lists its options."""

from tenxsom_flow_engine.cli.worker import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
