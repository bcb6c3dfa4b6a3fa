"""Check what a worker needs to accept the tokens of deliveries: the certificates, and a clock that agrees with them."""

from __future__ import annotations

from collections.abc import Iterator

from tenxsom_flow_engine.doctor.checks import Finding, ok, problem, warning
from tenxsom_flow_engine.errors import CertificatesUnavailable
from tenxsom_flow_engine.queues.cloud_tasks.certificates import CLOCK_SKEW, GOOGLE_CERTS_URL, fetch
from tenxsom_flow_engine.settings import Settings
from tenxsom_flow_engine.text import duration

_CLOCK_STEP = "set this machine's clock: timedatectl set-ntp true"


def check_tokens(settings: Settings) -> Iterator[Finding]:
    """Fetch the certificates, and compare this machine's clock with their server's as strictly as the worker does."""
    if settings.web.allow_unauthenticated:
        return
    if settings.cloud_tasks.emulator_host and not settings.web.token_certs_url:
        return  # a machine that only adds jobs: a worker could not check the emulator's tokens
    try:
        ahead = fetch(settings.web.token_certs_url or GOOGLE_CERTS_URL).server_ahead or 0.0
    except CertificatesUnavailable as error:
        step = "a worker on this machine needs the certificates: check that it can reach the address"
        yield warning("tokens", error.code, error.message, step)
        return
    clocks = f"this machine's clock is {duration(abs(ahead))} {{}} the clock of the tokens' signer"
    if ahead > CLOCK_SKEW:
        text = (
            f"{clocks.format('behind')}, so a worker here rejects all deliveries (at most {CLOCK_SKEW} s are accepted)"
        )
        yield problem("tokens", "clock-skew", text, _CLOCK_STEP)
    elif ahead < -CLOCK_SKEW:
        yield warning("tokens", "clock-skew", clocks.format("ahead of"), _CLOCK_STEP)
    else:
        yield ok("tokens", "the certificates of delivery tokens can be fetched, and this machine's clock agrees")
