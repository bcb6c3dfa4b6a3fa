"""The stock lines of drafts. The renderer has no facts about a topic, so the lines ask and never claim."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

# Lines of a group keep this order; groups are shuffled.
_GENERAL: tuple[tuple[str, ...], ...] = (
    ("Look closer.",),
    ("What would surprise you?",),
    ("Zoom in on one detail.", "Now zoom out. What changes?"),
    ("Think of one example.", "Now find the exception."),
    ("Name one thing you are sure of.", "Now one thing you are not."),
    ("What came before?", "And what comes after?"),
    ("What if the opposite were true?",),
    ("Explain it in one breath.",),
    ("Would a child follow you?",),
    ("What did you leave out?",),
    ("What has to be true first?",),
    ("What would you ask an expert?",),
    ("Draw it in your head.",),
    ("What would you check first?",),
    ("Put it in your own words.",),
    ("Which part matters to you?",),
    ("Try it from the other side.",),
    ("What would you measure?",),
    ("What is the simplest version?",),
    ("Slow down here.", "Now look again."),
    ("Whose story is this?",),
    ("What would change your mind?",),
    ("Where would you begin?",),
    ("Who would disagree?",),
)

_BY_FORM: dict[str, tuple[str, ...]] = {
    "why": (
        "Don't look it up yet. Guess.",
        "Is the first answer enough?",
        "What would prove it?",
        "Who asked it first?",
    ),
    "how": ("What is the very first step?", "Picture it already done.", "Where would you get stuck?", "Start there."),
    "list": ("Guess number one now.", "Keep count as you go.", "Which would you put first?", "Which one is missing?"),
    "question": ("Answer before you go on.", "Sure? How sure?", "What is your evidence?", "Could it be both?"),
    "statement": (
        "What comes to mind first?",
        "What do you know already?",
        "Where does it begin?",
        "Where does it lead?",
    ),
}

_CLOSES = (
    "Follow for the full story.",
    "Your turn. What do you think?",
    "Save this and think it over.",
    "Watch again. See what you missed.",
    "Send it to someone curious.",
    "Tell us what you find.",
)

_ASKING = re.compile(
    r"(what|which|who|whose|when|where|is|are|was|were|do|does|did|can|could|should|would|will|has|have)\b", re.I
)
_COUNTING = re.compile(r"((top|the|my|our)\s+)?(\d{1,3}|two|three|four|five|six|seven|eight|nine|ten)\s+\S", re.I)
# Words that say nothing about a topic.
_DULL = frozenset(
    re.findall(
        r"\w+",
        """
        about above after again against also always and another anything around because been before being
        below best better between both build cannot could didn does doing done down during each even ever
        every everyone everything find first from getting good great have having here into isn just know
        less like made make makes making many more most much must need never next only other over really
        same should since some someone something still such take than that their them then there these they
        thing things this those through tips today under until using very want wasn ways were what when
        where which while whom whose will with without work works would year years your yours ideas reasons
        facts secrets
        """,
    )
)


def form(topic: str) -> str:
    """Classify a topic by its first words: why, how, list, question or statement."""
    head = topic.lstrip("\"'\u201c\u2018\u00bf\u00a1( ").lower()
    for word in ("why", "how"):
        if re.match(word + r"\b", head):
            return word
    if _COUNTING.match(head):
        return "list"
    return "question" if _ASKING.match(head) or topic.rstrip().endswith(("?", "\uff1f", "\u061f")) else "statement"


def keywords(topic: str) -> list[str]:
    """Return the significant words of a topic, as typed, in order, without duplicates."""
    found: dict[str, str] = {}
    for word in re.findall(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*", topic):
        if 4 <= len(word) <= 12 and word.lower() not in _DULL:
            found.setdefault(word.lower(), word)
    return list(found.values())


def points(topic: str, rng: random.Random) -> Iterator[str]:
    """Yield lines for the middle of the video, the most suitable first, without duplicates."""
    own = list(_BY_FORM[form(topic)])
    yield own.pop(0)
    words = keywords(topic)
    if len(words) > 1:
        yield f"What links “{words[0]}” to “{words[-1]}”?"
    yield own.pop(0)
    if words:
        yield f"Take “{words[0]}” away. What is left?"
    groups = [*((line,) for line in own), *_GENERAL]
    rng.shuffle(groups)
    for group in groups:
        yield from group


def close(rng: random.Random) -> str:
    """Return the last line: a call to action for the viewer."""
    return rng.choice(_CLOSES)
