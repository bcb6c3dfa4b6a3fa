"""What a service's refusal must not say, whoever refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tenxsom_flow_engine.errors import ServiceError
from tenxsom_flow_engine.testing.fake_services import heygen, ltx, useapi

SECRETS = (heygen.KEY, ltx.KEY, useapi.TOKEN)


def refusal(call: Callable[[], object]) -> ServiceError:
    """Return the error that a call to a service ends with; no secret stands in it."""
    with pytest.raises(ServiceError) as caught:
        call()
    assert not any(secret in str(caught.value) for secret in SECRETS)
    return caught.value
