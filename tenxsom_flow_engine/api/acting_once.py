"""Act on a request; with an idempotency key only once."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from flask import Response

from tenxsom_flow_engine.api.once import Repeatable
from tenxsom_flow_engine.api.problems import InProgress
from tenxsom_flow_engine.api.requests import canonical
from tenxsom_flow_engine.api.routes import Call
from tenxsom_flow_engine.errors import FlowError


def act_once(call: Call, act: Callable[[], object], *, next_step: str) -> Response:
    """Act; with an idempotency key only once. An interrupted request is not repeated: it might have been done.

    `next_step` then says how to find out.
    """
    if not call.key:
        return Response(msgspec.json.encode(act()), mimetype="application/json")
    request = f"POST {call.request.path}\n".encode() + canonical(call.data)
    repeatable = Repeatable.of(call.engine.store, call.caller.key_id, call.key, request)
    claim, mine = repeatable.claim()
    if (answer := claim.answered) is not None:
        return Response(answer, mimetype="application/json", headers={"Idempotency-Replayed": "true"})
    if not mine:
        raise InProgress("the same request is under way, or was interrupted", next_step=next_step)
    try:
        result = msgspec.json.encode(act())
    except FlowError:
        repeatable.drop(claim)
        raise
    return Response(repeatable.keep(claim, result)[0], mimetype="application/json")
