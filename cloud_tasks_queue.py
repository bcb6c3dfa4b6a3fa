"""The Cloud Tasks queue's public name: `from cloud_tasks_queue import CloudTasksQueue`."""

from tenxsom_flow_engine.queues.cloud_tasks.queue import CloudTasksQueue

__all__ = ["CloudTasksQueue"]
