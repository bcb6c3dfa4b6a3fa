"""What the tests of all paid services share: how an order is known, what it is given up after, how it is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenxsom_flow_engine.errors import ServiceError
from tenxsom_flow_engine.jobs import Ticket, VideoJob
from tenxsom_flow_engine.services.base import VideoService
from tenxsom_flow_engine.services.heygen import fake as heygen
from tenxsom_flow_engine.services.ltx_studio import fake as ltx
from tenxsom_flow_engine.services.pixverse import fake as useapi
from tenxsom_flow_engine.timings import CallTimeouts, Timings

REFERENCE = "tides.0123456789abcdef.3"
#: For those orders that must run out of time when they are sent; until then the machine may be busy.
IMPATIENT = Timings(paid_call=CallTimeouts(connect=60.0, read=1.0, total=60.0))
SECRETS = (heygen.KEY, ltx.KEY, useapi.TOKEN)


def order_and_create(service: VideoService, job: VideoJob, reference: str) -> Ticket:
    """Send a create as a step does."""
    return service.create(service.order(job, reference), reference)


def refusal(call: Callable[[], object]) -> ServiceError:
    """Return the error that a call to a service ends with; no secret stands in it."""
    with pytest.raises(ServiceError) as caught:
        call()
    assert not any(secret in str(caught.value) for secret in SECRETS)
    return caught.value
