"""The conformance suite of job stores: every promise of `store.base`, stated as a test, a module for each theme.

A back end's test module subclasses `StoreSuite`, names in `lists` the module whose constants bound its lists, and
supplies one fixture, `open_store`: a function that opens the same place each time it is called, with the clock that it
is given, so that several handles can be open at once.
"""

from __future__ import annotations

from tenxsom_flow_engine.testing.store_suite.adding import AddingSuite
from tenxsom_flow_engine.testing.store_suite.claiming import AskingAgainSuite, ClaimingSuite
from tenxsom_flow_engine.testing.store_suite.dispatching import DispatchSuite
from tenxsom_flow_engine.testing.store_suite.durability import DurabilitySuite
from tenxsom_flow_engine.testing.store_suite.journal import JournalSuite
from tenxsom_flow_engine.testing.store_suite.leases import LeaseSuite
from tenxsom_flow_engine.testing.store_suite.lists import ListsSuite
from tenxsom_flow_engine.testing.store_suite.looking import LookingSuite
from tenxsom_flow_engine.testing.store_suite.pushing import PushingSuite
from tenxsom_flow_engine.testing.store_suite.queues import QueueAndWorkerSuite
from tenxsom_flow_engine.testing.store_suite.settling import SettlingSuite
from tenxsom_flow_engine.testing.store_suite.shared import OpenStore
from tenxsom_flow_engine.testing.store_suite.slots import SlotSuite
from tenxsom_flow_engine.testing.store_suite.spending import SpendingSuite
from tenxsom_flow_engine.testing.store_suite.sums import SumsSuite
from tenxsom_flow_engine.testing.store_suite.telling_time import TimeSuite
from tenxsom_flow_engine.testing.store_suite.waiting import WaitingSuite

__all__ = ["OpenStore", "StoreSuite"]


class StoreSuite(
    AddingSuite,
    ClaimingSuite,
    AskingAgainSuite,
    SlotSuite,
    DispatchSuite,
    LeaseSuite,
    SettlingSuite,
    JournalSuite,
    SpendingSuite,
    SumsSuite,
    LookingSuite,
    ListsSuite,
    PushingSuite,
    QueueAndWorkerSuite,
    TimeSuite,
    WaitingSuite,
    DurabilitySuite,
):
    """Every promise of `store.base.JobStore`."""
