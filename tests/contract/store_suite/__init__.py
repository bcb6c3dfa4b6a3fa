"""The conformance suite of job stores: one test for each guarantee of `store.base`, one module for each topic.

A store's test module subclasses `StoreSuite` and supplies one fixture, `open_store` (see `OpenStore`): several handles
can be open at once.
"""

from __future__ import annotations

from tests.contract.store_suite.adding import AddingSuite
from tests.contract.store_suite.budgets import BudgetSuite
from tests.contract.store_suite.channels import ChannelSuite
from tests.contract.store_suite.claiming import AskingAgainSuite, ClaimingSuite
from tests.contract.store_suite.dispatching import DispatchSuite
from tests.contract.store_suite.durability import DurabilitySuite
from tests.contract.store_suite.events import EventSuite
from tests.contract.store_suite.journal import JournalSuite
from tests.contract.store_suite.leases import LeaseSuite
from tests.contract.store_suite.lists import ListsSuite
from tests.contract.store_suite.memos import MemoSuite
from tests.contract.store_suite.notification import NotificationSuite
from tests.contract.store_suite.pushing import PushingSuite
from tests.contract.store_suite.queues import QueueAndWorkerSuite
from tests.contract.store_suite.reading import ReadingSuite
from tests.contract.store_suite.schedules import ScheduleSuite
from tests.contract.store_suite.settling import SettlingSuite
from tests.contract.store_suite.shared import OpenStore
from tests.contract.store_suite.slots import SlotSuite
from tests.contract.store_suite.spending import SpendingSuite
from tests.contract.store_suite.starts import StartSuite
from tests.contract.store_suite.store_time import TimeSuite
from tests.contract.store_suite.totals import TotalsSuite

__all__ = ["OpenStore", "StoreSuite"]


class StoreSuite(
    AddingSuite,
    ClaimingSuite,
    AskingAgainSuite,
    ChannelSuite,
    SlotSuite,
    DispatchSuite,
    LeaseSuite,
    SettlingSuite,
    JournalSuite,
    SpendingSuite,
    BudgetSuite,
    ScheduleSuite,
    TotalsSuite,
    ReadingSuite,
    ListsSuite,
    PushingSuite,
    QueueAndWorkerSuite,
    StartSuite,
    TimeSuite,
    MemoSuite,
    EventSuite,
    NotificationSuite,
    DurabilitySuite,
):
    """The complete suite for `store.base.JobStore`."""
