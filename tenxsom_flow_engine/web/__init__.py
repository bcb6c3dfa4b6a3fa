"""The HTTP side of a worker: push deliveries, health and statistics, and the dashboard."""
