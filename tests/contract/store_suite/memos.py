"""Tests of memos: short texts that are replaced by comparing them."""

from __future__ import annotations

from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import Retention
from tenxsom_flow_engine.testing.clock import ManualClock
from tests.contract.store_suite.shared import OpenStore, Suite, race


class MemoSuite(Suite):
    """Memos."""

    def test_a_memo_is_shared(self, open_store: OpenStore, clock: ManualClock) -> None:
        """A memo is visible to every handle, under its kind and name only, with its exact text."""
        one, two = open_store(clock), open_store(clock)
        text = "é \U0001f30a = \n"
        assert one.put_memo("plan", "a", text, 10.0, instead_of=None) == text
        assert two.memo("plan", "a") == text
        assert (two.memo("plan", "b"), two.memo("key", "a")) == (None, None)
        one.put_memo("plan", "B", "", 10.0, instead_of=None)
        assert dict(two.memos("plan")) == {"B": "", "a": text}
        assert list(two.memos("plan")) == ["B", "a"]

    def test_a_memo_is_replaced_by_comparison(self, store: JobStore) -> None:
        """A memo is replaced only if it has the expected text; the answer is the text that it has then."""
        assert store.put_memo("k", "a", "first", 10.0, instead_of=None) == "first"
        assert store.put_memo("k", "a", "second", 10.0, instead_of=None) == "first"
        assert store.put_memo("k", "a", "second", 10.0, instead_of="") == "first"
        assert store.put_memo("k", "a", "second", 10.0, instead_of="first") == "second"
        assert store.put_memo("k", "b", "other", 10.0, instead_of="first") is None
        assert store.put_memo("k", "a", None, 10.0, instead_of="first") == "second"
        assert store.put_memo("k", "a", None, 10.0, instead_of="second") is None
        assert dict(store.memos("k")) == {}

    def test_a_memo_ends(self, store: JobStore, clock: ManualClock) -> None:
        """After its time a memo does not exist; replacing it extends its time."""
        store.put_memo("k", "a", "first", 10.0, instead_of=None)
        store.put_memo("k", "b", "longer", 20.0, instead_of=None)
        clock.advance(9.0)
        assert store.memo("k", "a") == "first"
        store.put_memo("k", "a", "more", 3.0, instead_of="first")
        clock.advance(3.0)
        assert store.memo("k", "a") is None
        assert dict(store.memos("k")) == {"b": "longer"}
        assert store.put_memo("k", "a", "again", 1.0, instead_of="more") is None
        assert store.put_memo("k", "a", "again", 1.0, instead_of=None) == "again"
        clock.advance(100.0)
        store.trim(Retention())
        assert dict(store.memos("k")) == {}

    def test_one_of_many_writers_wins(self, open_store: OpenStore, clock: ManualClock) -> None:
        """Of concurrent writers one replaces the memo, and all get its text."""
        handles = [open_store(clock) for _ in range(4)]
        found = race(16, lambda index: handles[index % 4].put_memo("k", "a", f"by {index}", 10.0, instead_of=None))
        assert len(set(found)) == 1
        assert handles[0].memo("k", "a") == found[0]
