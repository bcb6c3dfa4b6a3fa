"""The meaning of HeyGen's errors. Source: developers.heygen.com/docs/error-codes (October 2026)."""

from __future__ import annotations

from tenxsom_flow_engine.errors import Busy, Misconfigured, OutOfCredit, Rejected, Transient
from tenxsom_flow_engine.services.http.responses import ErrorRow

_TOP_UP = "add credits or raise the limit in HeyGen's settings, under API"
_SUBSCRIBE = "subscribe to a plan at heygen.com"
_PLAN = "check the account's plan, and that HEYGEN_API_KEY belongs to the right account"
_DOWN = "HeyGen is down"

#: Rows without a code are for codes that are newer than this table; they exist where all codes of a status agree.
ERRORS = (
    ErrorRow(400, Rejected, "HeyGen does not accept these values", "change the job's values", "invalid_parameter"),
    ErrorRow(400, Rejected, "HeyGen does not allow the content", "change the text", "content_policy_violation"),
    ErrorRow(400, Rejected, "the avatar cannot be used", "set avatar_id or HEYGEN_AVATAR_ID to another one",
             "avatar_not_usable"),
    ErrorRow(400, Rejected, "the voice cannot be used", "set voice_id or HEYGEN_VOICE_ID to another one",
             "voice_unavailable"),
    ErrorRow(400, Rejected, "HeyGen could not fetch a file", "change what the job refers to", "download_failed"),
    ErrorRow(400, Rejected, "HeyGen does not accept the order", "change the job"),
    ErrorRow(401, Misconfigured, "HeyGen rejects the key", "set HEYGEN_API_KEY to a valid key"),
    ErrorRow(402, OutOfCredit, "the HeyGen account has no credit left", _TOP_UP, "insufficient_credit"),
    ErrorRow(402, OutOfCredit, "the HeyGen account's quota is used up", _TOP_UP, "quota_exceeded"),
    ErrorRow(402, OutOfCredit, "HeyGen's trial is used up", _SUBSCRIBE, "trial_limit_exceeded"),
    ErrorRow(402, OutOfCredit, "HeyGen requires a subscription", _SUBSCRIBE, "subscription_required"),
    ErrorRow(402, OutOfCredit, "HeyGen requires a payment", _TOP_UP),
    ErrorRow(403, Misconfigured, "the HeyGen key has no permission for this", _PLAN, "forbidden"),
    ErrorRow(403, Misconfigured, "the HeyGen plan does not include this", _PLAN, "plan_upgrade_required"),
    ErrorRow(403, Misconfigured, "HeyGen rejects the account", _PLAN),
    ErrorRow(404, Rejected, "HeyGen has no such video",
             "check that HEYGEN_API_KEY belongs to the account that ordered it", "video_not_found"),
    ErrorRow(404, Rejected, "HeyGen has no such avatar", "set avatar_id or HEYGEN_AVATAR_ID to another one",
             "avatar_not_found"),
    ErrorRow(404, Rejected, "HeyGen has no such resource", "check the ids in the job", "resource_not_found"),
    ErrorRow(404, Rejected, "HeyGen has no such resource", "check the ids in the job, and HEYGEN_BASE_URL"),
    # A request with the same key is running. Its outcome is unknown, so the create is repeated with that key.
    ErrorRow(409, Transient, "HeyGen is still processing the same create", code="request_in_progress"),
    ErrorRow(409, Rejected, "HeyGen already uses this id for another order", "add the job with another id", "conflict"),
    ErrorRow(413, Rejected, "the order is too large for HeyGen", "shorten the text"),
    ErrorRow(429, Busy, "HeyGen accepts no more requests for now"),
    ErrorRow(500, Transient, _DOWN),
    ErrorRow(502, Transient, _DOWN),
    ErrorRow(503, Transient, _DOWN),
    ErrorRow(504, Transient, _DOWN),
)  # fmt: skip
