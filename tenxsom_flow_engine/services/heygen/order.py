"""Orders for HeyGen: a script for a presenter, or a prompt for the video agent. Pure.

Sources: developers.heygen.com (reference of create-video and of video agents, October 2026); prices of mid-2026.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import MAX_DURATION, Cost, VideoJob
from tenxsom_flow_engine.services.base import Fit
from tenxsom_flow_engine.services.fitting import fitted, nearest_quality, nearest_ratio, read_options
from tenxsom_flow_engine.services.heygen.config import HeyGenConfig
from tenxsom_flow_engine.services.prompts import LOOKS
from tenxsom_flow_engine.services.sentences import sentences

NAME = "heygen"
#: The two endpoints: last part of the path of a create, and first part of a ticket's id.
AGENT, SCRIPT = "video-agents", "videos"
MAX_PROMPT, MAX_SCRIPT = 10_000, 5000
#: Our choice, because HeyGen documents no limit for titles.
MAX_TITLE = 100
#: The orientation of an agent's video, by the nearest aspect ratio.
ORIENTATIONS: Mapping[str, str] = {"9:16": "portrait", "16:9": "landscape"}
RATIOS = ("9:16", "16:9", "1:1", "4:5", "5:4")
#: The first is the default: it costs the same as the second.
QUALITIES = ("1080p", "720p", "4k")
#: USD per second; the highest price of an engine if there are several.
PRICES: Mapping[str, float] = {"agent": 0.0333, "avatar_iii": 0.0433, "avatar_iv": 0.0667}
#: Letters of a script spoken in a second, at about 150 English words a minute.
LETTERS_PER_SECOND = 15.0
#: Weight of a wide character, which is a whole syllable or word, as in Chinese: about five are spoken in a second.
WIDE_WEIGHT = 3


class AgentOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options under `options["heygen"]` for the video agent."""

    avatar_id: str = ""
    voice_id: str = ""
    style_id: str = ""
    brand_kit_id: str = ""


class ScriptOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options under `options["heygen"]` for a presenter, with the script to speak."""

    script: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SCRIPT)]
    avatar_id: str = ""
    voice_id: str = ""
    engine: Literal["avatar_iii", "avatar_iv", "avatar_v"] = "avatar_iv"
    speed: Annotated[float, msgspec.Meta(ge=0.5, le=1.5)] | None = None
    pitch: Annotated[float, msgspec.Meta(ge=-50, le=50)] | None = None
    locale: str = ""


def endpoint_of(job: VideoJob, config: HeyGenConfig) -> str:
    """Return the endpoint for a job: `SCRIPT` if a presenter can speak its script, else `AGENT`.

    The script is that of the options, or else the job's own. Only the agent follows a prompt, a style or a brand kit.
    """
    given = job.options.get(NAME, {})
    if "script" in given:
        return SCRIPT
    avatar = given.get("avatar_id") or config.avatar_id
    speakable = avatar and _words(job) and not job.prompt.strip() and not given.keys() & {"style_id", "brand_kit_id"}
    return SCRIPT if speakable else AGENT


def options_of(job: VideoJob, config: HeyGenConfig) -> AgentOptions | ScriptOptions:
    """Return a job's options: `ScriptOptions`, with the script, for a presenter. Raises `InvalidInput`."""
    if endpoint_of(job, config) == AGENT:
        return read_options(NAME, job, AgentOptions)
    given = job.options.get(NAME, {})
    if "script" not in given:
        words = _words(job)
        if len(words) > MAX_SCRIPT:
            raise InvalidInput("script", f"has {len(words)} characters; {NAME}'s presenters speak {MAX_SCRIPT}")
        job = msgspec.structs.replace(job, options={NAME: {**given, "script": words}})
    return read_options(NAME, job, ScriptOptions)


def prompt_of(job: VideoJob, config: HeyGenConfig) -> str:
    """Return the script, or a prompt that includes the duration, because the agent's API has no field for it."""
    options = options_of(job, config)
    if isinstance(options, ScriptOptions):
        return options.script
    topic = " ".join(job.topic.split())
    request = job.prompt.strip() or f"Make a video on this topic: {topic}\nIts look: {LOOKS[job.style]}"
    if words := _words(job):
        request += f"\nThe narrator says exactly these words:\n{words}"
    return f"{request}\nThe video lasts {job.duration} seconds."


def _words(job: VideoJob) -> str:
    """Return the words of the job's own script, without Markdown marks and hashtags."""
    return "\n".join(sentences(job.script))


def fit_to(job: VideoJob, config: HeyGenConfig) -> Fit:
    """Return the job with the nearest values that its endpoint allows. Raises `InvalidInput`."""
    options = options_of(job, config)
    if isinstance(options, AgentOptions):
        prompt = prompt_of(job, config)
        if len(prompt) > MAX_PROMPT:
            raise InvalidInput("prompt", f"has {len(prompt)} characters; {NAME} accepts {MAX_PROMPT}")
        if job.quality:
            raise InvalidInput(
                "quality",
                f"{NAME}'s video agent chooses it; it cannot be set to {job.quality!r}",
                next_step="leave it out",
            )
        ratio = nearest_ratio(NAME, job.aspect_ratio, tuple(ORIENTATIONS))
        fit = fitted(NAME, job, duration=job.duration, aspect_ratio=ratio, quality="")
        return _spoken(fit, job, _words(job), 1.0)
    if not (options.avatar_id or config.avatar_id):
        raise InvalidInput(
            f"options.{NAME}.avatar_id",
            "a script needs an avatar to speak it",
            next_step="set it to an avatar look from HeyGen's list, or set HEYGEN_AVATAR_ID",
        )
    # The job keeps the default avatar of now, so that its endpoint stays the same.
    given = job.options.get(NAME, {})
    if "script" not in given:
        avatar = options.avatar_id or config.avatar_id
        job = msgspec.structs.replace(job, options={**job.options, NAME: {**given, "avatar_id": avatar}})
    quality = nearest_quality(NAME, job.quality or QUALITIES[0], QUALITIES)
    ratio = nearest_ratio(NAME, job.aspect_ratio, RATIOS)
    fit = fitted(NAME, job, duration=job.duration, aspect_ratio=ratio, quality=quality)
    return _spoken(fit, job, options.script, options.speed or 1.0)


def _spoken(fit: Fit, job: VideoJob, script: str, speed: float) -> Fit:
    """Return the fit with the time in which the script, if there is one, is spoken."""
    duration = min(MAX_DURATION, max(1, round(_letters(script) / LETTERS_PER_SECOND / speed)))
    if not script or duration == job.duration:
        return fit
    note = f"about {duration} s instead of {job.duration} s, because of the script's length"
    return Fit(msgspec.structs.replace(fit.job, duration=duration), (note, *fit.notes))


def _letters(script: str) -> int:
    return sum(WIDE_WEIGHT if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in script)


def cost_of(job: VideoJob, config: HeyGenConfig) -> Cost | None:
    """Return the expected cost of a fitted job, or None if no price is known."""
    options = options_of(job, config)
    kind = options.engine if isinstance(options, ScriptOptions) else "agent"
    price = config.prices.get(kind, PRICES.get(kind))
    return None if price is None else Cost(usd=round(price * job.duration, 4))


def order_of(job: VideoJob, config: HeyGenConfig) -> dict[str, Any]:
    """Return the body of a create for a fitted job. Values that are not set are omitted: HeyGen chooses them."""
    options = options_of(job, config)
    order: dict[str, Any]
    if isinstance(options, AgentOptions):
        order = {
            "prompt": prompt_of(job, config),
            # In the other mode the agent stops to ask questions.
            "mode": "generate",
            "orientation": ORIENTATIONS[job.aspect_ratio],
            "style_id": options.style_id,
            "brand_kit_id": options.brand_kit_id,
        }
    else:
        settings = {"speed": options.speed, "pitch": options.pitch, "locale": options.locale or None}
        order = {
            "type": "avatar",
            "title": job.topic[:MAX_TITLE],
            "script": options.script,
            "aspect_ratio": job.aspect_ratio,
            "resolution": job.quality,
            "engine": {"type": options.engine},
            "voice_settings": {name: value for name, value in settings.items() if value is not None},
        }
    order |= {"avatar_id": options.avatar_id or config.avatar_id, "voice_id": options.voice_id or config.voice_id}
    return {name: value for name, value in order.items() if value}
