"""Orders for HeyGen: endpoint, nearest values, body of the create and expected cost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenxsom_flow_engine.env import Secret
from tenxsom_flow_engine.errors import InvalidInput
from tenxsom_flow_engine.jobs import ASPECT_RATIOS, Cost, VideoJob
from tenxsom_flow_engine.services.heygen.config import HeyGenConfig
from tenxsom_flow_engine.services.heygen.order import order_of
from tenxsom_flow_engine.services.heygen.service import HeyGenService
from tenxsom_flow_engine.services.http.download import Downloader
from tenxsom_flow_engine.testing.clock import ManualClock

#: 600 letters: 40 seconds.
SCRIPT = "Tides rise " * 54 + "and.."
SPOKEN = {"script": SCRIPT, "avatar_id": "look_1"}


def service(**changes: Any) -> HeyGenService:
    return HeyGenService(HeyGenConfig(Secret("key"), **changes), Downloader(), ManualClock())


def a_job(options: dict[str, Any] | None = None, **changes: Any) -> VideoJob:
    fields: dict[str, Any] = {"job_id": "tides", "topic": "How tides work", "created_at": 1.0}
    fields["options"] = {"heygen": options} if options else {}
    return VideoJob(**(fields | changes))


#: Options; requested and fitted duration, ratio and quality; parts of the notes.
FITS: list[tuple[dict[str, Any], tuple[int, str, str], tuple[int, str, str], list[str]]] = [
    ({}, (60, "9:16", ""), (60, "9:16", ""), []),
    ({}, (60, "3:2", ""), (60, "16:9", ""), ["16:9 instead of 3:2"]),
    (SPOKEN, (40, "4:5", "4k"), (40, "4:5", "4k"), []),
    (SPOKEN | {"script": "潮汐每天涨落两次" * 10}, (16, "4:5", "4k"), (16, "4:5", "4k"), []),
    (SPOKEN, (5, "1:1", ""), (40, "1:1", "1080p"), ["about 40 s instead of 5 s"]),
    (SPOKEN | {"speed": 0.5}, (80, "3:4", "2160p"), (80, "4:5", "4k"), ["4:5 instead of 3:4", "4k instead of 2160p"]),
]


@pytest.mark.parametrize(("options", "requested", "fitted", "notes"), FITS)
def test_the_nearest_allowed_values(
    options: dict[str, Any], requested: tuple[int, str, str], fitted: tuple[int, str, str], notes: list[str]
) -> None:
    """A job gets the nearest values of its endpoint, a script its spoken length, and each change has a note."""
    fit = service().fit(a_job(options, duration=requested[0], aspect_ratio=requested[1], quality=requested[2]))
    assert (fit.job.duration, fit.job.aspect_ratio, fit.job.quality) == fitted
    assert len(fit.notes) == len(notes)
    assert all(words in note for words, note in zip(notes, fit.notes, strict=True))
    assert service().fit(fit.job) == type(fit)(fit.job)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({}, {"aspect_ratio": "1:1"}, "aspect_ratio", "9:16, 16:9"),
    ({}, {"quality": "720p"}, "quality", "video agent chooses it"),
    ({}, {"prompt": "x" * 9999}, "prompt", "10000"),
    (SPOKEN, {"aspect_ratio": "21:9"}, "aspect_ratio", "9:16, 16:9, 1:1, 4:5, 5:4"),
    (SPOKEN, {"quality": "360p"}, "quality", "1080p, 720p, 4k"),
    ({"script": "Tides rise."}, {}, "options.heygen.avatar_id", "HEYGEN_AVATAR_ID"),
    ({"script": ""}, {}, "options.heygen", "script"),
    ({"script": "x" * 5001}, {}, "options.heygen", "5000"),
    ({"speed": 1.0}, {}, "options.heygen", "the options are avatar_id, voice_id, style_id, brand_kit_id"),
    (SPOKEN | {"style_id": "s"}, {}, "options.heygen", "the options are script, avatar_id"),
    (SPOKEN | {"speed": 2}, {}, "options.heygen", "speed"),
    (SPOKEN | {"pitch": 51}, {}, "options.heygen", "pitch"),
    (SPOKEN | {"engine": "avatar_x"}, {}, "options.heygen", "engine"),
]


@pytest.mark.parametrize(("options", "requested", "field", "words"), REFUSED)
def test_impossible_orders_are_refused(
    options: dict[str, Any], requested: dict[str, Any], field: str, words: str
) -> None:
    """Values that are not allowed, or options of the other endpoint, are refused with their field."""
    with pytest.raises(InvalidInput) as refusal:
        service().fit(a_job(options, **({"duration": 40} | requested)))
    assert refusal.value.field == field
    assert words in str(refusal.value)


@given(
    st.sampled_from([{}, SPOKEN]), st.integers(1, 1800), st.sampled_from(ASPECT_RATIOS),
    st.sampled_from(["", "360p", "540p", "720p", "1080p", "1440p", "4k"]),
)  # fmt: skip
def test_a_fitted_job_is_unchanged(options: dict[str, Any], duration: int, ratio: str, quality: str) -> None:
    """Fitting a fitted job changes nothing and gives no notes."""
    try:
        fit = service().fit(a_job(options, duration=duration, aspect_ratio=ratio, quality=quality))
    except InvalidInput:
        return
    again = service().fit(fit.job)
    assert (again.job, again.notes) == (fit.job, ())


def test_defaults_of_avatar_and_voice() -> None:
    """Avatar and voice come from the job, else from the settings, else they are HeyGen's choice."""
    setup = HeyGenConfig(Secret("key"), avatar_id="usual", voice_id="low")
    scripted, prompted = a_job({"script": "Hi."}, quality="720p"), a_job({"avatar_id": "mine", "style_id": "s"})
    assert {"avatar_id": "usual", "voice_id": "low"}.items() <= order_of(scripted, setup).items()
    order = order_of(prompted, setup)
    assert (order["avatar_id"], order["voice_id"], order["style_id"]) == ("mine", "low", "s")
    assert order_of(a_job(), HeyGenConfig(Secret("key"))).keys() == {"prompt", "mode", "orientation"}


def test_the_prompt_of_the_agent() -> None:
    """The agent's prompt has the topic and the style, or is the job's own prompt; both end with the duration."""
    made = service().prompt(a_job(duration=60, topic="How  tides\u00a0work", style="retro"))
    assert "How tides work" in made
    assert "16 mm" in made
    assert made.endswith("The video lasts 60 seconds.")
    own = service().prompt(a_job(duration=60, prompt="Show the sea.\n"))
    assert own == "Show the sea.\nThe video lasts 60 seconds."
    assert service().prompt(a_job(SPOKEN)) == SCRIPT


#: A job's own script, of 20 seconds.
OWN = "**Tides** rise.\n" + "Tides fall. " * 24 + "\n#tides #sea"


def test_the_script_of_a_job_is_spoken_by_a_presenter() -> None:
    """A job's script is spoken without its marks, by the avatar of the job or of the settings, in the spoken time."""
    job = a_job(script=OWN)
    setup = HeyGenConfig(Secret("key"), avatar_id="usual")
    fit = service(avatar_id="usual").fit(job)
    order = order_of(fit.job, setup)
    assert (order["type"], order["avatar_id"]) == ("avatar", "usual")
    assert order["script"].splitlines()[:3] == ["Tides rise.", "Tides fall.", "Tides fall."]
    assert "#" not in order["script"]
    assert fit.job.duration == service(avatar_id="usual").default_duration(job) == 20
    assert fit.job.options == {"heygen": {"avatar_id": "usual"}}
    assert order_of(service().fit(a_job({"avatar_id": "mine"}, script=OWN)).job, setup)["avatar_id"] == "mine"


@pytest.mark.parametrize(
    ("options", "changes", "setup"),
    [
        ({}, {}, {}),
        ({}, {"prompt": "Show the sea."}, {"avatar_id": "usual"}),
        ({"style_id": "s"}, {}, {"avatar_id": "usual"}),
    ],
)
def test_the_agent_gets_the_script(options: dict[str, Any], changes: dict[str, Any], setup: dict[str, Any]) -> None:
    """Without an avatar, or with a prompt or a style, the prompt of the agent contains the script and its length."""
    made = service(**setup)
    fit = made.fit(a_job(options, script=OWN, **changes))
    prompt = order_of(fit.job, HeyGenConfig(Secret("key"), **setup))["prompt"]
    assert "exactly these words:\nTides rise.\nTides fall." in prompt
    assert prompt.startswith(changes.get("prompt", "Make a video on this topic"))
    assert prompt.endswith("The video lasts 20 seconds.")


def test_a_script_of_the_options_wins() -> None:
    """The script of HeyGen's options is spoken instead of the job's script."""
    assert service().prompt(a_job(SPOKEN, script="Other words.")) == SCRIPT


def test_a_script_without_words_is_none() -> None:
    """A script without a letter or digit is not sent."""
    assert "words" not in service(avatar_id="usual").prompt(a_job(script="🔥\n#sea"))


def test_a_script_that_is_too_long_is_refused() -> None:
    """A presenter speaks at most 5000 characters."""
    with pytest.raises(InvalidInput, match="speak 5000") as refusal:
        service(avatar_id="usual").fit(a_job(script="x" * 5001))
    assert refusal.value.field == "script"


def test_only_a_create_that_stays_for_a_presenter_is_repeated() -> None:
    """A create is idempotent if the job itself has the script and the avatar, whatever the settings are by then."""
    made = service(avatar_id="usual")
    assert made.idempotency_window(a_job({"script": "Hi."})) > 0
    assert made.idempotency_window(a_job({"avatar_id": "mine"}, script="Hi.")) > 0
    assert made.idempotency_window(made.fit(a_job(script="Hi.")).job) > 0
    assert made.idempotency_window(a_job(script="Hi.")) == 0
    assert made.idempotency_window(a_job()) == 0


ESTIMATES: list[tuple[dict[str, Any], dict[str, Any], Cost | None]] = [
    ({}, {}, Cost(usd=1.332)),
    (SPOKEN, {}, Cost(usd=2.668)),
    (SPOKEN | {"engine": "avatar_iii"}, {}, Cost(usd=1.732)),
    (SPOKEN | {"engine": "avatar_v"}, {}, None),
    (SPOKEN | {"engine": "avatar_v"}, {"prices": {"avatar_v": 0.1}}, Cost(usd=4.0)),
    ({}, {"prices": {"agent": 0.1}}, Cost(usd=4.0)),
]


@pytest.mark.parametrize(("options", "setup", "cost"), ESTIMATES)
def test_estimates(options: dict[str, Any], setup: dict[str, Any], cost: Cost | None) -> None:
    """A job's cost is estimated by its endpoint and engine from published prices or those of the settings."""
    made = service(**setup)
    assert made.estimate(made.fit(a_job(options, duration=40)).job) == cost


def test_fitting_changes_nothing_else() -> None:
    """Fitting does not change topic, prompt, tags and options."""
    job = a_job(SPOKEN, duration=5, channel="fun", prompt="p", quality="720p")
    assert msgspec.structs.replace(service().fit(job).job, duration=5) == job
