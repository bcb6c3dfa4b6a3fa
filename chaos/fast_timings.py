"""The engine with fast timings: what it waits minutes for in production, it waits about a second for here.

Nothing is decided otherwise. A create still ends before another worker asks what came of it, a gate still opens before
it is tried: only the numbers are smaller, all together. Clocks run as they do, since a server's cannot be hurried.
"""

from __future__ import annotations

from tenxsom_flow_engine.composition import Overrides
from tenxsom_flow_engine.retry import RetryPolicy
from tenxsom_flow_engine.timings import CallTimeouts, Timings

#: Seconds without a heartbeat after which another worker may take a job.
LEASE = 1.5
#: What a call to a service may take. The machine may be busy, so these leave some room.
_CALL = CallTimeouts(connect=1.0, read=1.5, total=2.0)

FAST = Overrides(
    timings=Timings(
        create_settle_margin=1.0,
        stopped_service_retry=1.0,
        slot_retry=0.3,
        max_poll_interval=0.3,
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
