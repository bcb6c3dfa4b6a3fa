"""The report in Prometheus's text format (https://prometheus.io/docs/practices/naming/).

No label holds a job id or a topic, so the number of series depends only on the services, statuses and limits. Totals
come from the store: every process reports the same ones, and scraping one process is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from tenxsom_flow_engine import __version__
from tenxsom_flow_engine.budgets import to_usd
from tenxsom_flow_engine.budgets.limits import PRIVATE
from tenxsom_flow_engine.report.model import ChannelFigures, Making, Report, ServiceFigures
from tenxsom_flow_engine.report.verdicts import OK
from tenxsom_flow_engine.store.histogram import PER_DOUBLING, bound

#: Upper bounds of the exported buckets, as buckets of the store: from 1 s to 2 h 20 min, doubling each time.
ENDS = range(10 * PER_DOUBLING, 24 * PER_DOUBLING, PER_DOUBLING)


def metrics(report: Report, channels: Sequence[ChannelFigures] = ()) -> bytes:
    """Return the report in Prometheus's text format, with the figures of these channels."""
    registry = CollectorRegistry()
    registry.register(_Collector(report, channels))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, report: Report, channels: Sequence[ChannelFigures]) -> None:
        self._report = report
        self._channels = channels

    def collect(self) -> Iterable[Metric]:
        yield from _state(self._report)
        yield from _gates(self._report.services)
        yield from _budgets(self._report)
        yield from _totals(self._report)
        if self._channels:
            yield from _of_channels(self._channels)


def _state(report: Report) -> Iterator[Metric]:
    info = GaugeMetricFamily("tenxsom_info", "Always 1.", labels=["version", "queue_type"])
    info.add_metric([__version__, report.queue.queue_type], 1)
    yield info
    jobs = GaugeMetricFamily("tenxsom_jobs", "Jobs whose records are kept, by status.", labels=["status"])
    for status, number in report.jobs.by_status.items():
        jobs.add_metric([status.value], number)
    yield jobs
    yield GaugeMetricFamily(
        "tenxsom_oldest_due_seconds",
        "Seconds that the oldest due job has waited.",
        value=report.jobs.oldest_due or 0.0,
    )
    yield GaugeMetricFamily(
        "tenxsom_workers", "Workers whose last heartbeat is younger than a lease.", value=report.workers.alive
    )
    queue = GaugeMetricFamily("tenxsom_queue_state", "1 for the current state of the queue.", labels=["state"])
    for state in ("RUNNING", "PAUSED", "UNKNOWN"):
        queue.add_metric([state], report.queue.state == state)
    yield queue
    disk = GaugeMetricFamily("tenxsom_disk_free_bytes", "Free bytes of a file system.", labels=["place"])
    for one in report.disks:
        disk.add_metric([one.place], one.free)
    yield disk
    days = GaugeMetricFamily(
        "tenxsom_disk_days_left", "Days until a file system is full at the pace of the last 24 hours.", labels=["place"]
    )
    for one in report.disks:
        if one.days_left is not None:
            days.add_metric([one.place], one.days_left)
    yield days
    verdict = GaugeMetricFamily(
        "tenxsom_verdict", "1 for each active verdict; see docs/operations.md.", labels=["code", "level"]
    )
    for code, level in {verdict.code: verdict.level for verdict in report.verdicts if verdict.level != OK}.items():
        verdict.add_metric([code, level], 1)
    yield verdict


def _gates(services: Iterable[ServiceFigures]) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "tenxsom_service_state", "1 for the current state of the gate.", labels=["service", "state"]
    )
    pace = GaugeMetricFamily("tenxsom_service_pace_ratio", "Share of its limits in use.", labels=["service"])
    in_flight = GaugeMetricFamily("tenxsom_service_in_flight", "Generations in flight.", labels=["service"])
    slots = GaugeMetricFamily("tenxsom_service_slots", "Limit of generations in flight.", labels=["service"])
    used = GaugeMetricFamily("tenxsom_service_window_used", "Creates in the window.", labels=["service", "window"])
    limit = GaugeMetricFamily("tenxsom_service_window_limit", "Limit of the window.", labels=["service", "window"])
    for service in services:
        state.add_metric([service.name, service.state], 1)
        pace.add_metric([service.name], service.pace)
        in_flight.add_metric([service.name], service.in_flight)
        if service.slots is not None:
            slots.add_metric([service.name], service.slots)
        for window in service.windows:
            used.add_metric([service.name, window.name], window.used)
            limit.add_metric([service.name, window.name], window.limit)
    yield from (state, pace, in_flight, slots, used, limit)


def _budgets(report: Report) -> Iterator[Metric]:
    labels = ["scope", "limit"]
    amount = GaugeMetricFamily("tenxsom_budget_used_usd", "US dollars of the present period.", labels=[*labels, "kind"])
    limit = GaugeMetricFamily("tenxsom_budget_limit_usd", "US dollars allowed in a period.", labels=labels)
    reset = GaugeMetricFamily("tenxsom_budget_reset_timestamp_seconds", "End of the present period.", labels=labels)
    for use in report.budgets:
        if use.budget.scope.startswith(PRIVATE):  # a name that a person has chosen, and there can be many
            continue
        place = [use.budget.scope, str(use.limit)]
        amount.add_metric([*place, "reserved"], to_usd(use.amounts.reserved))
        amount.add_metric([*place, "spent"], to_usd(use.amounts.spent))
        limit.add_metric(place, to_usd(use.limit.micro_usd))
        reset.add_metric(place, use.period.ends)
    yield from (amount, limit, reset)


def _of_channels(channels: Sequence[ChannelFigures]) -> Iterator[Metric]:
    labels = ["channel"]
    ended = GaugeMetricFamily(
        "tenxsom_channel_month_jobs", "Jobs that ended in the present month.", labels=["channel", "status"]
    )
    usd = GaugeMetricFamily("tenxsom_channel_month_usd", "US dollars spent in the present month.", labels=labels)
    videos = GaugeMetricFamily("tenxsom_channel_month_purchases", "Generations bought in that month.", labels=labels)
    paused = GaugeMetricFamily("tenxsom_channel_paused", "1 if the channel is paused.", labels=labels)
    due = GaugeMetricFamily(
        "tenxsom_channel_next_due_timestamp_seconds", "Start of its next scheduled job.", labels=labels
    )
    for one in channels:
        by_status = {"succeeded": one.ended.succeeded, "failed": one.ended.failed, "expired": one.expired}
        for status, number in by_status.items():
            ended.add_metric([one.name, status], number)
        usd.add_metric([one.name], one.usd)
        videos.add_metric([one.name], one.videos)
        paused.add_metric([one.name], one.settings.paused)
        if one.next_due is not None:
            due.add_metric([one.name], one.next_due)
    yield from (ended, usd, videos, paused, due)


def _totals(report: Report) -> Iterator[Metric]:
    ended = CounterMetricFamily("tenxsom_jobs_ended", "Jobs that ended.", labels=["service", "status"])
    made = HistogramMetricFamily(
        "tenxsom_video_seconds", "Seconds from the create to the publication.", labels=["service"]
    )
    videos = CounterMetricFamily("tenxsom_purchases", "Generations that were bought.", labels=["service"])
    unpriced = CounterMetricFamily(
        "tenxsom_purchases_unpriced", "Purchased generations whose price is unknown.", labels=["service"]
    )
    usd = CounterMetricFamily("tenxsom_spent_usd", "US dollars spent.", labels=["service"])
    credits = CounterMetricFamily("tenxsom_spent_credits", "Credits of the service spent.", labels=["service"])
    for service in (*report.services, report.unchosen):
        for status, number in service.ended.items():
            ended.add_metric([service.name, status], number)
    for service in report.services:
        made.add_metric([service.name], _buckets(service.made), service.made.seconds)
        videos.add_metric([service.name], service.bought.videos)
        unpriced.add_metric([service.name], service.bought.unpriced)
        usd.add_metric([service.name], service.bought.usd)
        credits.add_metric([service.name], service.bought.credits)
    yield from (ended, made, videos, unpriced, usd, credits)


def _buckets(making: Making) -> list[tuple[str, float]]:
    found = [(f"{bound(end):g}", sum(amount for size, amount in making.sizes.items() if size <= end)) for end in ENDS]
    return [*found, ("+Inf", float(making.videos))]
