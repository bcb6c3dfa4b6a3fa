"""Shared parts of the tests of all paid services: a reference, short time limits, creates and errors."""

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
#: Makes a create time out after it has been sent. The other limits are long, because the machine might be busy.
IMPATIENT = Timings(paid_call=CallTimeouts(connect=60.0, read=1.0, total=60.0))
SECRETS = (heygen.KEY, ltx.KEY, useapi.TOKEN)


def order_and_create(service: VideoService, job: VideoJob, reference: str) -> Ticket:
    """Build the order and send the create, like a step."""
    return service.create(service.order(job, reference), reference)


def refusal(call: Callable[[], object]) -> ServiceError:
    """Return the error that a call to a service raises, and check that it contains no secret."""
    with pytest.raises(ServiceError) as caught:
        call()
    assert not any(secret in str(caught.value) for secret in SECRETS)
    return caught.value
