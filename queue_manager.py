"""The queue manager's public names: `from queue_manager import QueueManager`."""

from tenxsom_flow_engine.python_api.queue_manager import QueueManager

__all__ = ["QueueManager"]
