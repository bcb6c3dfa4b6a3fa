"""The meaning of PixVerse's errors. Source: useapi.net/docs, general codes and api-pixverse-v2 (2026-04-05)."""

from __future__ import annotations

from tenxsom_flow_engine.errors import Busy, Misconfigured, OutOfCredit, Rejected, Transient
from tenxsom_flow_engine.services.http.responses import ErrorRow

_DOWN = "UseAPI or PixVerse is down"

ERRORS = (
    ErrorRow(400, Rejected, "PixVerse does not accept these values together", "change the job's values or options"),
    ErrorRow(401, Misconfigured, "UseAPI rejects the token", "set USEAPI_TOKEN to the token shown at useapi.net"),
    ErrorRow(402, Misconfigured, "the UseAPI subscription has ended", "renew it at useapi.net"),
    ErrorRow(
        403,
        Rejected,
        "the request was refused, or the video belongs to another user",
        "check that USEAPI_TOKEN belongs to the account that ordered it",
    ),
    ErrorRow(
        404,
        Misconfigured,
        "the PixVerse account is not linked to UseAPI",
        "link it at useapi.net/docs/api-pixverse-v2, or correct USEAPI_PIXVERSE_EMAIL",
    ),
    ErrorRow(408, Transient, "UseAPI timed out waiting for PixVerse"),
    ErrorRow(412, OutOfCredit, "PixVerse has no credits left", "buy credits, or wait for the next day's credits"),
    ErrorRow(422, Rejected, "PixVerse does not allow the prompt", "change the prompt"),
    ErrorRow(429, Busy, "all slots of the PixVerse account are taken"),
    ErrorRow(500, Transient, _DOWN),
    ErrorRow(502, Transient, _DOWN),
    ErrorRow(503, Transient, _DOWN),
    ErrorRow(504, Transient, _DOWN),
    # Logging in to PixVerse with the same account elsewhere, for example in a browser, ends UseAPI's session.
    ErrorRow(
        596,
        Misconfigured,
        "PixVerse has ended UseAPI's session",
        "add the account to UseAPI again, and do not log in to PixVerse with it elsewhere",
    ),
)
