"""Make a prompt for a text-to-video model from a topic: subject, style, composition, exclusions.

The order is subject, filming, framing, in plain sentences, because these models weigh the beginning most and follow
long lists badly. The prompt excludes text in the picture, because models misspell it.
"""

from __future__ import annotations

from collections.abc import Mapping

from tenxsom_flow_engine.jobs import VideoJob

#: Prompt sentences for each style of `jobs.STYLES`: material, light, camera.
LOOKS: Mapping[str, str] = {
    "documentary": "Realistic documentary footage, natural light, true colours, a calm and steady camera.",
    "cinematic": "Cinematic film still come to life, dramatic light, shallow depth of field, a slow dolly forward.",
    "explainer": "Clear visual explanation of how it works, simple shapes and models in a bright studio, "
    "one idea at a time, a smooth camera.",
    "animation": "Stylised 3D animation, rounded shapes, rich colours, soft light, lively and expressive movement.",
    "retro": "Shot on worn 16 mm film, warm faded colours, fine grain, a slightly unsteady handheld camera.",
}

#: The composition of portrait, landscape and square pictures.
PORTRAIT = "Vertical composition: one subject, large and centred, with calm space above and below it."
LANDSCAPE = "Wide composition: the subject off centre, with depth from foreground to background."
SQUARE = "Square composition: one subject in the middle, filling most of the frame."

LEAVE_OUT = "No text, captions, logos or watermarks in the picture."


def prompt_for(job: VideoJob) -> str:
    """Return the job's own prompt, or one made from its topic, style and aspect ratio if it has none."""
    if job.prompt.strip():
        return job.prompt.strip()
    topic = " ".join(job.topic.split())
    if topic[-1] not in ".!?…。！？؟।":
        topic += "."
    return " ".join((topic, LOOKS[job.style], _composition(job.aspect_ratio), LEAVE_OUT))


def _composition(aspect_ratio: str) -> str:
    across, down = map(int, aspect_ratio.split(":"))
    return PORTRAIT if across < down else LANDSCAPE if across > down else SQUARE
