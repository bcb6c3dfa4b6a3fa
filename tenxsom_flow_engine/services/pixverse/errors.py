"""What PixVerse's errors mean. Source: useapi.net/docs, general codes and api-pixverse-v2 (2026-04-05)."""

from __future__ import annotations

from tenxsom_flow_engine.errors import Busy, Misconfigured, OutOfCredit, Rejected, Transient
from tenxsom_flow_engine.services.http.responses import ErrorRow

_DOWN = "UseAPI or PixVerse is down"

ERRORS = (
    ErrorRow(400, Rejected, "it does not take this combination of values", "change the job's values or options"),
    ErrorRow(401, Misconfigured, "UseAPI refuses the token", "set USEAPI_TOKEN to the one that useapi.net shows"),
    ErrorRow(402, Misconfigured, "the UseAPI subscription has ended", "renew it at useapi.net"),
    ErrorRow(
        403, Rejected, "it belongs to another user, or was refused", "see that USEAPI_TOKEN is of whoever ordered it"
    ),
    ErrorRow(
        404,
        Misconfigured,
        "the PixVerse account is not linked to UseAPI",
        "link it at useapi.net/docs/api-pixverse-v2, or mend USEAPI_PIXVERSE_EMAIL",
    ),
    ErrorRow(408, Transient, "UseAPI gave up waiting for PixVerse"),
    ErrorRow(412, OutOfCredit, "PixVerse has no credits left", "buy credits, or wait for those of the next day"),
    ErrorRow(422, Rejected, "PixVerse does not allow the prompt", "change the prompt"),
    ErrorRow(429, Busy, "all slots of the PixVerse account are taken"),
    ErrorRow(500, Transient, _DOWN),
    ErrorRow(502, Transient, _DOWN),
    ErrorRow(503, Transient, _DOWN),
    ErrorRow(504, Transient, _DOWN),
    # A login to PixVerse with the same account, in a browser for instance, ends UseAPI's session.
    ErrorRow(
        596,
        Misconfigured,
        "PixVerse has ended UseAPI's session",
        "add the account to UseAPI again, and log in to PixVerse with it nowhere else",
    ),
)
