"""Short timings for the engine: a second where production waits minutes.

Every decision stays the same. A create still ends before another worker asks for its outcome, and a gate still opens
before a create is tried: all the numbers shrink together. The clocks keep their speed, since nothing can speed up the
clock of a server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tenxsom_flow_engine.composition import Overrides
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.timings import CallTimeouts, Timings

#: Lease duration, in seconds.
LEASE = 1.5
#: Time limits of a call to a service, in seconds, with some room for a busy machine.
_CALL = CallTimeouts(connect=1.0, read=1.5, total=2.0)

FAST = Overrides(
    timings=Timings(
        create_settle_margin=1.0,
        stopped_service_retry=1.0,
        slot_retry=0.3,
        max_poll_interval=0.3,
        output_retry=0.5,
        read_call=_CALL,
        paid_call=_CALL,
        download_call=_CALL,
        busy_floor=0.5,
        busy_pause=0.5,
        probe_interval=0.5,
        stopped_hint=0.3,
        max_hint=5.0,
        sweep_interval=3.0,
        lost_delivery_interval=0.5,
        overdue=2.0,
        store_retry=0.2,
        max_write_retry=0.5,
        store_open_retry=0.3,
        redis_connect=1.0,
        redis_answer=3.0,
        redis_file=2.0,
    ),
    retry=RetryPolicy(base=0.1, cap=2.0),
)
#: As `FAST`, but a create can be held at its service until a refusal of the store has begun.
_PATIENT = replace(FAST, timings=replace(FAST.timings, paid_call=CallTimeouts(connect=10.0, read=30.0, total=30.0)))
#: The timings that the processes of a cluster can have, by name.
TIMINGS: Mapping[str, Overrides] = {"fast": FAST, "patient": _PATIENT, "production": Overrides()}
