"""What HeyGen's errors mean. Source: developers.heygen.com/docs/error-codes (October 2026)."""

from __future__ import annotations

from tenxsom_flow_engine.errors import Busy, Misconfigured, OutOfCredit, Rejected, Transient
from tenxsom_flow_engine.services.http.responses import ErrorRow

_TOP_UP = "add credits or raise the limit in HeyGen's settings, under API"
_PLAN = "see what the account's plan allows, and that HEYGEN_API_KEY is of the right one"
_DOWN = "HeyGen is down"

#: A row without a code is for an answer whose code is younger than this table, where all codes of the status agree.
ERRORS = (
    ErrorRow(400, Rejected, "HeyGen does not take these values", "change the job's values", "invalid_parameter"),
    ErrorRow(400, Rejected, "HeyGen does not allow the content", "change the text", "content_policy_violation"),
    ErrorRow(400, Rejected, "the avatar cannot be used", "name another one in avatar_id or HEYGEN_AVATAR_ID",
             "avatar_not_usable"),
    ErrorRow(400, Rejected, "the voice cannot be used", "name another one in voice_id or HEYGEN_VOICE_ID",
             "voice_unavailable"),
    ErrorRow(400, Rejected, "HeyGen could not fetch a file", "change what the job refers to", "download_failed"),
    ErrorRow(400, Rejected, "HeyGen does not take the order", "change the job"),
    ErrorRow(401, Misconfigured, "HeyGen refuses the key, or got none", "set HEYGEN_API_KEY to a valid one"),
    ErrorRow(402, OutOfCredit, "the HeyGen account has no credit left", _TOP_UP, "insufficient_credit"),
    ErrorRow(402, OutOfCredit, "the HeyGen account's quota is used up", _TOP_UP, "quota_exceeded"),
    ErrorRow(402, OutOfCredit, "HeyGen's trial is used up", "take a plan at heygen.com", "trial_limit_exceeded"),
    ErrorRow(402, OutOfCredit, "HeyGen wants a subscription", "take a plan at heygen.com", "subscription_required"),
    ErrorRow(402, OutOfCredit, "HeyGen wants money", _TOP_UP),
    ErrorRow(403, Misconfigured, "HeyGen forbids the key to do this", _PLAN, "forbidden"),
    ErrorRow(403, Misconfigured, "the HeyGen plan does not include this", _PLAN, "plan_upgrade_required"),
    ErrorRow(403, Misconfigured, "HeyGen refuses the account", _PLAN),
    ErrorRow(404, Rejected, "HeyGen knows no such video", "see that HEYGEN_API_KEY is of whoever ordered it",
             "video_not_found"),
    ErrorRow(404, Rejected, "HeyGen knows no such avatar", "name another one in avatar_id or HEYGEN_AVATAR_ID",
             "avatar_not_found"),
    ErrorRow(404, Rejected, "HeyGen knows no such thing", "see the ids that the job names", "resource_not_found"),
    ErrorRow(404, Rejected, "HeyGen does not know what the job names", "see its ids, and HEYGEN_BASE_URL"),
    # A twin with the same key is under way, so of this create nothing is known: it is sent again under its key.
    ErrorRow(409, Transient, "the same create is still under way at HeyGen", code="request_in_progress"),
    ErrorRow(409, Rejected, "HeyGen has something else under that name", "add the job under another id", "conflict"),
    ErrorRow(413, Rejected, "the order is too large for HeyGen", "shorten the text"),
    ErrorRow(429, Busy, "HeyGen takes no more requests for now"),
    ErrorRow(500, Transient, _DOWN),
    ErrorRow(502, Transient, _DOWN),
    ErrorRow(503, Transient, _DOWN),
    ErrorRow(504, Transient, _DOWN),
)  # fmt: skip
