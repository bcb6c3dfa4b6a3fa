"""Jobs that were or might have been paid, through the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenxsom_flow_engine.jobs import Cost, JobRecord, Status, Ticket, VideoJob
from tenxsom_flow_engine.jobs.outcomes import ConfirmedPurchase, Dead, Held
from tenxsom_flow_engine.jobs.submission import Intent, Receipt
from tenxsom_flow_engine.services.pixverse.fake import TOKEN, FakeUseApi
from tenxsom_flow_engine.store.base import JobStore
from tenxsom_flow_engine.store.values import NewJob
from tenxsom_flow_engine.testing.samples import FAILURE, a_claim
from tests.e2e.conftest import Flow

SERVICE = "simulated"
#: A ticket of the simulated service for a generation that finished long ago.
TICKET = "1.000/2.000/fine/somewhere"


def hold(flow: Flow, store: JobStore, *job_ids: str) -> None:
    """Add held jobs: their create was sent, its outcome is unknown."""
    for job_id in job_ids:
        store.add(flow.queue, [NewJob(VideoJob(job_id=job_id, topic="Tides", service=SERVICE, created_at=1.0))])
        record = claim(flow, store, job_id)
        store.settle(job_id, record.lease_token, Held(FAILURE))


def retried_after_wrong_ticket(flow: Flow, store: JobStore, job_id: str) -> None:
    """Add a job that was retried because the generation of a ticket that a person had entered failed."""
    hold(flow, store, job_id)
    store.resolve(job_id, ConfirmedPurchase(Ticket("wrong"), 600.0, None))
    (record,) = store.claim(a_claim(queue=flow.queue, slots={SERVICE: 99}, only=job_id)).records
    store.settle(job_id, record.lease_token, Dead(FAILURE, generation_failed=True))
    store.retry(job_id)


def claim(flow: Flow, store: JobStore, job_id: str) -> JobRecord:
    """Claim a job and journal the intent of its paid create."""
    (record,) = store.claim(a_claim(queue=flow.queue, slots={SERVICE: 99}, only=job_id)).records
    return store.intend(
        job_id,
        record.lease_token,
        Intent(submission_id=f"s-{job_id}", service=SERVICE, lifetime=600.0, max_in_flight=99),
    )


def test_an_operator_resolves_held_jobs(either: Flow) -> None:
    """A held job is submitted again, or continues from a given ticket; a plain retry is refused."""
    store = either.store()
    hold(either, store, "lost", "found")
    refused = either.run("retry", "lost")
    assert refused.returncode == 1
    assert "run_flow_enhanced.py jobs resolve lost --resubmit" in refused.stderr
    asked = either.run("jobs", "resolve", "lost", "--resubmit")
    assert (asked.returncode, store.require("lost").status) == (2, Status.HELD)
    assert "this would buy the video of job lost at an unknown price; pass --yes to confirm" in asked.stderr
    assert either.run("jobs", "resolve", "lost", "--resubmit", "--yes").returncode == 0
    found = either.run("jobs", "resolve", "found", "--ticket", TICKET, "--account", "me@example.org")
    assert (found.returncode, found.stderr) == (0, "job found is rendering and continues from its ticket\n")
    assert store.require("found").submission.ticket == Ticket(TICKET, account="me@example.org")
    assert either.worker("--burst", TENXSOM_SIMULATED="latency=0").wait() == 0
    assert {store.require(name).status for name in ("lost", "found")} == {Status.SUCCEEDED}
    sold = (either.home / "simulated-ledger").read_text().splitlines()
    assert len(sold) == 1
    assert "/lost." in sold[0]
    store.close()


def test_a_held_job_can_be_rehearsed(flow: Flow) -> None:
    """The simulator can lose the answer to a create that cannot be looked up; the job is held until it is resolved."""
    flow.run("single", "--topic", "Tides", "--service", SERVICE, "--job-id", "tides")
    assert flow.worker("--burst", TENXSOM_SIMULATED="uncertain=1 searchable=0").wait() == 1
    assert list(flow.json("status")["held"]) == ["tides"]
    assert flow.run("jobs", "resolve", "tides", "--resubmit", "--yes").returncode == 0
    assert flow.worker("--burst", TENXSOM_SIMULATED="latency=0 searchable=0").wait() == 0
    assert flow.json("show", "tides", "--json")["status"] == "succeeded"


def test_a_held_job_is_listed_with_its_next_step(flow: Flow) -> None:
    """`status` lists held jobs; a job that is given up keeps the error that its payment is unknown."""
    store = flow.store()
    hold(flow, store, "lost")
    assert list(flow.json("status")["held"]) == ["lost"]
    assert "unknown, reference s-lost" in flow.run("show", "lost").stdout
    assert flow.run("jobs", "resolve", "lost", "--give-up").returncode == 0
    error = flow.json("show", "lost", "--json")["error"]
    assert "it was never determined whether simulated charged for s-lost" in error["message"]
    assert "jobs resolve lost --ticket ID" in error["next_step"]
    store.close()


def test_cancelling_a_purchase_of_unknown_outcome_claims_nothing(flow: Flow) -> None:
    """`cancel` says that it is unknown whether the order was charged, where to look, and how to pass the result."""
    store = flow.store()
    hold(flow, store, "lost")
    assert flow.run("cancel", "lost").stderr == (
        "job lost is cancelled; it is unknown whether simulated accepted and charged its order s-lost: look for it in "
        "the file simulated-ledger in TENXSOM_HOME, where the line of each sale ends with the reference, then pass the "
        "result with: run_flow_enhanced.py jobs resolve lost\n"
    )
    store.close()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["held"], "pass exactly one of --resubmit, --ticket ID, --give-up"),
        (["held", "--resubmit", "--give-up"], "pass exactly one of"),
        (["held", "--resubmit", "--account", "x"], "--account needs --ticket"),
        (["held", "--resubmit", "--force"], "--force needs --ticket"),
        (["held", "--ticket", " "], "ticket: '' is not the id of a generation at simulated"),
        (["queued", "--resubmit"], "job queued is queued and its paid create is not marked as unknown"),
        (["queued", "--ticket", TICKET], "job queued is queued and its paid create is not marked as unknown"),
        (["leased", "--resubmit"], "job leased is running and its paid create is not marked as unknown"),
    ],
)
def test_invalid_decisions_are_refused(flow: Flow, arguments: list[str], reason: str) -> None:
    """An invalid decision prints one line, exits with 2 and changes nothing."""
    with_lease = VideoJob(job_id="leased", topic="Tides", service=SERVICE, created_at=1.0)
    store = flow.store()
    hold(flow, store, "held")
    store.add(flow.queue, [NewJob(with_lease), NewJob(VideoJob(job_id="queued", topic="Tides", created_at=1.0))])
    claim(flow, store, "leased")
    before = [store.require(name) for name in ("held", "queued", "leased")]
    done = flow.run("jobs", "resolve", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [store.require(name) for name in ("held", "queued", "leased")] == before
    store.close()


def test_list_options_before_resolve_are_refused(flow: Flow) -> None:
    """A list option before `resolve` is a usage error."""
    done = flow.run("jobs", "--status", "held", "resolve", "x", "--resubmit")
    assert done.returncode == 2
    assert "--status filters the list" in done.stderr


def test_a_cancelled_job_keeps_its_late_ticket_and_cost(flow: Flow) -> None:
    """A job cancelled during its create keeps ticket and cost; a retry continues from the ticket unpaid."""
    store = flow.store()
    store.add(flow.queue, [NewJob(VideoJob(job_id="late", topic="Tides", service=SERVICE, created_at=1.0))])
    claim(flow, store, "late")
    assert flow.run("cancel", "late").returncode == 0
    cost = Cost(usd=0.14, credits=35.0, estimated=False)
    store.accept("late", Receipt(submission_id="s-late", ticket=Ticket(TICKET), lifetime=600.0, cost=cost))
    shown = flow.json("show", "late", "--json")
    assert (shown["status"], shown["submission"]["ticket"]) == ("cancelled", TICKET)
    assert shown["cost"] == {"usd": 0.14, "credits": 35.0, "estimated": False}
    assert "job late is rendering again and continues from its ticket" in flow.run("retry", "late").stderr
    assert flow.worker("--burst").wait() == 0
    assert store.require("late").status is Status.SUCCEEDED
    assert not (flow.home / "simulated-ledger").exists()
    metadata = Path(store.require("late").result.path).with_name("metadata.json")  # type: ignore[union-attr]
    assert json.loads(metadata.read_text())["made"]["ticket"] == TICKET
    store.close()


def test_purchases_are_summed(either: Flow) -> None:
    """`cost` shows totals by day and service, the cost of the queue, and how the steps per video were measured."""
    store = either.store()
    assert "nothing was bought in the last 30 days" in either.run("cost").stderr
    for job_id, cost in (("a", Cost(usd=0.14, credits=35.0)), ("b", Cost(usd=0.28, credits=70.0)), ("c", None)):
        store.add(either.queue, [NewJob(VideoJob(job_id=job_id, topic="Tides", service=SERVICE, created_at=1.0))])
        token = claim(either, store, job_id).lease_token
        store.accept(job_id, Receipt(submission_id=f"s-{job_id}", ticket=Ticket(TICKET), lifetime=600.0, cost=cost))
        store.release_lease(job_id, token)
    costs = either.json("cost", "--json", "--days", "2")
    assert {row["service"] for row in costs["spent"]} == {SERVICE}
    totals = [round(sum(row[key] for row in costs["spent"]), 6) for key in ("videos", "usd", "credits", "unpriced")]
    assert totals == [3, 0.42, 105.0, 1]
    assert costs["queue"]["steps_measured_on_videos"] == 0
    assert either.worker("--burst").wait() == 0
    shown = either.run("cost", "--videos-per-day", "200000", "--redis-usd", "50").stdout
    assert "total: 3 videos, $0.42, and 1 of unknown price" in shown
    assert "(measured on 3 videos)" in shown
    assert "managed Redis  $50.00" in shown
    store.close()


def test_a_paid_video_from_plan_to_bill(flow: Flow) -> None:
    """A job without a service goes to the paid one: its price is shown first, and it is billed and counted once."""
    with FakeUseApi() as useapi:
        flow.environment |= {
            "USEAPI_TOKEN": TOKEN, "USEAPI_BASE_URL": useapi.url, "TENXSOM_ALLOW_PRIVATE_DOWNLOADS": "true"
        }  # fmt: skip
        single = ("single", "--topic", "How tides work", "--style", "retro", "--duration", "2", "--job-id", "tides")
        dry = flow.run(*single, "--dry-run", "--json")
        planned = json.loads(dry.stdout)
        assert planned["service"] == "pixverse"
        assert f"about ${planned['cost_usd']:.2f} at pixverse\n" in dry.stderr
        assert planned["prompt"].startswith("How tides work. Shot on worn 16 mm film")
        assert useapi.sold == []
        assert f", about ${planned['cost_usd']:.2f}\n" in flow.run(*single).stderr
        assert flow.worker("--burst").wait() == 0
        (sale,) = useapi.sold
        assert sale.order["prompt"] == planned["prompt"]
        made = json.loads((flow.home / "videos/tides/metadata.json").read_text())["made"]
        assert (made["service"], made["prompt"]) == ("pixverse", planned["prompt"])
        costs = flow.json("cost", "--json")
        assert [(row["service"], row["videos"], row["credits"]) for row in costs["spent"]] == [
            ("pixverse", 1, sale.credits)
        ]
        assert costs["left"]["pixverse"]["remaining"] == 1000.0 - sale.credits
        assert costs["queue"]["steps_measured_on_videos"] == 1
        assert TOKEN not in flow.log()
