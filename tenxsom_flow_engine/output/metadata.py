"""The metadata of a video: title, description, hashtags, and how it was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.jobs import JobRecord, Video, VideoJob
from tenxsom_flow_engine.jobs.codec import to_builtins
from tenxsom_flow_engine.output.hashtags import hashtags
from tenxsom_flow_engine.output.titles import plain_text, title
from tenxsom_flow_engine.output.truncation import shorten, utf8_length
from tenxsom_flow_engine.topics import builtin_script

#: The limit of YouTube's descriptions, in bytes of UTF-8.
MAX_DESCRIPTION = 5000
#: The limit of YouTube Shorts, in seconds, since October 2024.
MAX_SHORT = 180.0
#: A length is noted if it differs from the ordered one by more than this share and by more than a second.
NOTABLE = 0.1


def metadata_of(record: JobRecord, video: Video) -> dict[str, Any]:
    """Return the content of `metadata.json`."""
    job = record.job
    tags = hashtags(job.topic) + ["#shorts"] * is_short(video)
    return {
        "job_id": job.job_id,
        "title": title(job.topic),
        "description": description(_about(job), tags),
        "hashtags": tags,
        "duration": round(video.duration, 3),
        "duration_note": duration_note(job.duration, video.duration),
        "width": video.width,
        "height": video.height,
        "size": video.size,
        "sha256": video.sha256,
        "made": {
            "service": record.service,
            "prompt": record.submission.prompt or None,
            "submission": record.submission.id,
            "ticket": record.submission.ticket.id if record.submission.ticket else None,
            "ordered_at": iso(record.submission.intended_at),
            "job": to_builtins(job),
        },
    }


def is_short(video: Video) -> bool:
    """Return whether a video gets the tag of a YouTube Short: vertical, and not longer than `MAX_SHORT`.

    YouTube counts square videos too, but they fit other places as well.
    """
    return video.height > video.width and video.duration <= MAX_SHORT


def description(text: str, tags: Sequence[str]) -> str:
    """Return a text and its hashtags as a description; a text that is too long is shortened, never the hashtags."""
    end = f"\n\n{' '.join(tags)}" if tags else ""
    return shorten(plain_text(text), MAX_DESCRIPTION - utf8_length(end), utf8_length) + end


def _about(job: VideoJob) -> str:
    """Return the words that describe a video: its script, its prompt, the script of a built-in topic, or its topic."""
    return job.script.strip() or job.prompt.strip() or builtin_script(job.topic) or job.topic.strip()


def duration_note(ordered: int, duration: float) -> str | None:
    """Return a note if a video's length (seconds) differs from the ordered one; None if it is about the same."""
    if abs(duration - ordered) <= max(1.0, ordered * NOTABLE):
        return None
    return f"the service made {duration:.1f} s instead of the ordered {ordered} s ({duration / ordered:.0%})"
