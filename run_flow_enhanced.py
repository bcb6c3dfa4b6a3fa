#!/usr/bin/env python3
"""The producer's command line; `python3 run_flow_enhanced.py --help` lists its commands."""

from tenxsom_flow_engine.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
