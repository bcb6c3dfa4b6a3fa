"""The metadata of a video: title, description, hashtags, and captions if the service made none."""

from __future__ import annotations

import re
from typing import Any

from tenxsom_flow_engine.clock import iso
from tenxsom_flow_engine.jobs import JobRecord, Video
from tenxsom_flow_engine.jobs.codec import to_builtins

#: The limit that the platforms share, in characters.
MAX_TITLE = 100
#: A length is noted if it differs from the ordered one by more than this share and by more than a second.
NOTABLE = 0.1
_SMALL_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be but by can do does for from has have how i in is it its of on or our so than that the "
        "their this to was we were what when where which who why will with you your",
    )
)


def metadata_of(record: JobRecord, video: Video) -> dict[str, Any]:
    """Return the content of `metadata.json`."""
    job = record.job
    tags = hashtags(job.topic)
    return {
        "job_id": job.job_id,
        "title": title(job.topic),
        "description": "\n\n".join(filter(None, (job.prompt.strip() or job.topic.strip(), " ".join(tags)))),
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


def duration_note(ordered: int, duration: float) -> str | None:
    """Return a note if a video's length (seconds) differs from the ordered one; None if it is about the same."""
    if abs(duration - ordered) <= max(1.0, ordered * NOTABLE):
        return None
    return f"the service made {duration:.1f} s instead of the ordered {ordered} s ({duration / ordered:.0%})"


def title(topic: str) -> str:
    """Return the topic as a title: with a capital first letter, truncated between words at `MAX_TITLE` characters."""
    text = " ".join(topic.split())
    text = text[:1].upper() + text[1:]
    if len(text) <= MAX_TITLE:
        return text
    cut = text[: MAX_TITLE - 1]
    return (cut.rsplit(" ", 1)[0] if " " in cut else cut) + "…"


def hashtags(topic: str, most: int = 6) -> list[str]:
    """Return hashtags for the significant words of a topic, and `#shorts`."""
    # Apostrophes are removed so that they do not split a word; letters and digits of any script are allowed.
    words = re.findall(r"\w+", re.sub(r"['’]", "", topic.lower()))
    significant = [word for word in dict.fromkeys(words) if word not in _SMALL_WORDS and len(word) > 1]
    return [f"#{word}" for word in significant[: most - 1] if word != "shorts"] + ["#shorts"]


def plain_captions(topic: str, duration: float) -> str:
    """Return the content of an SRT file that shows the title during the whole video."""
    milliseconds = round(duration * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    end = f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"
    return f"1\n00:00:00,000 --> {end}\n{title(topic)}\n"
