"""Events: what happened to jobs, services, queues and budgets, and which endpoints get a message about it."""

from tenxsom_flow_engine.events.endpoints import Endpoint, EndpointKind
from tenxsom_flow_engine.events.model import Event, EventType
from tenxsom_flow_engine.events.outbox import Delivery, DeliveryState, Settled, deliveries_of

__all__ = [
    "Delivery",
    "DeliveryState",
    "Endpoint",
    "EndpointKind",
    "Event",
    "EventType",
    "Settled",
    "deliveries_of",
]
