"""A job as JSON on the command line."""

from __future__ import annotations

import msgspec

from tenxsom_flow_engine.cli.format import job_as_dict
from tenxsom_flow_engine.jobs import lifecycle
from tenxsom_flow_engine.testing.samples import QUEUE, a_job


def test_a_damaged_order_is_shown_as_text() -> None:
    """The order of a damaged record that is not JSON is shown as it is, and no list fails."""
    record = lifecycle.add(a_job(), queue=QUEUE, nonce="n", now=1.0, due=1.0)
    shown = [job_as_dict(msgspec.structs.replace(record, order=text), 1.0)["order"] for text in ('{"a":1}', '{"a', "")]
    assert shown == [{"a": 1}, '{"a', None]
