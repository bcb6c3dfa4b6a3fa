#!/usr/bin/env python3
"""The worker that Cloud Tasks pushes jobs to: `python3 cloud_tasks_worker.py --help`, or any server of `app`."""

from tenxsom_flow_engine.cli.cloud_tasks_worker import main
from tenxsom_flow_engine.web.wsgi import app

__all__ = ["app", "main"]

if __name__ == "__main__":
    main()
