"""A fake of LTX's API (v2), after its documentation of 2026.

It records a sale for each accepted create. Videos advance through the states of `life`, one for each poll; `now` serves
only the documented time limit, the day for which a finished video is available.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenxsom_flow_engine.services.http.fake_files import PREFIX, Files
from tenxsom_flow_engine.services.http.fake_server import Reply, Request
from tenxsom_flow_engine.services.http.fake_vendor import MUCH_MONEY, PLENTY, FakeVendor, JobKind
from tenxsom_flow_engine.services.tiny_video import tiny_video

KEY = "ltx-a-key-that-must-appear-nowhere"

#: The kinds of jobs that it sells (see `fake_vendor`).
KINDS: Mapping[str, JobKind] = {"ltx": JobKind({"duration": 6})}

_VIDEOS = "/v2/text-to-video"
_FIELDS = {"prompt", "model", "duration", "resolution", "fps", "generate_audio", "camera_motion"}
#: Only fast models support the long durations, up to 1080p and 25 frames per second.
_LONG, _SHORT = (6, 8, 10, 12, 14, 16, 18, 20), (6, 8, 10)
_PRICES = {  # USD per second by lines
    "ltx-2-5-fast": {720: 0.09, 1080: 0.13, 1440: 0.19, 2160: 0.30},
    "ltx-2-5-pro": {720: 0.12, 1080: 0.17, 1440: 0.25, 2160: 0.39},
    "ltx-2-3-fast": {720: 0.03, 1080: 0.06, 1440: 0.12, 2160: 0.24},
    "ltx-2-3-pro": {720: 0.04, 1080: 0.08, 1440: 0.16, 2160: 0.32},
}
_SIZES = {720: 1280, 1080: 1920, 1440: 2560, 2160: 3840}
#: Seconds after its end for which a video is available.
SHOWN = 86400.0
_MOST_LETTERS = 9_000
#: A prompt that contains this word is refused.
FORBIDDEN = "forbidden"


def error(status: int, kind: str, message: str = "the service's own words", **headers: str) -> Reply:
    """Return an error answer in LTX's format."""
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass(slots=True)
class Sale:
    """A sold video and its price in USD."""

    id: str
    order: dict[str, Any]
    usd: float
    #: The remaining states; the last one stays.
    life: deque[str] = field(default_factory=deque)
    ended_at: float | None = None
    credits: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether its render fails."""
        return self.life[-1].startswith("failed")


class FakeLtx(FakeVendor):
    """See the module. The states are those of LTX, and `failed:TYPE` for a failure with an error type."""

    lives = (("completed",), ("pending", "processing", "completed"))
    failing = ("processing", "failed:api_error")

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self.now = now
        self.key = KEY
        self.most = 2
        self.life: Sequence[str] = ("completed",)
        self.balance = 1000.0
        self.sold: list[Sale] = []
        self.files = Files(lambda: self.url)

    def route(self, request: Request) -> str:
        path = request.bare_path
        if path.startswith(PREFIX):
            return "file"
        if path == _VIDEOS and request.method == "POST":
            return "create"
        return "video" if path.startswith(f"{_VIDEOS}/") and request.method == "GET" else "unknown"

    def work(self, route: str, request: Request) -> Reply:
        if route == "file":
            return self.files.answer(request)
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return error(401, "authentication_error")
        with self.lock:
            if route == "create":
                return self._create(request.json())
            if route == "video":
                return self._video(request.bare_path.removeprefix(f"{_VIDEOS}/"))
            return error(404, "not_found_error")

    def _create(self, order: Any) -> Reply:
        price = _price(order)
        if price is None:
            return error(400, "invalid_request_error", "no such combination of model, duration, resolution and fps")
        if len(order["prompt"]) > _MOST_LETTERS:
            return error(413, "request_too_large")
        if FORBIDDEN in order["prompt"]:
            return error(422, "content_filtered_error", "the prompt is not allowed")
        if price > self.balance:
            return error(402, "insufficient_funds_error")
        if sum(sale.ended_at is None for sale in self.sold) >= self.most:
            return error(429, "concurrency_limit_error", Retry_After="20")
        self.balance -= price
        sale = Sale(f"vid_{len(self.sold) + 1:04}", order, price, deque(self.life))
        self.sold.append(sale)
        self._age(sale)
        return Reply(202, {"id": sale.id, "created_at": "2026-11-23T10:00:00Z"})

    def _video(self, video_id: str) -> Reply:
        sale = next((sale for sale in self.sold if sale.id == video_id), None)
        if sale is None or (sale.ended_at is not None and self.now() >= sale.ended_at + SHOWN):
            return error(404, "not_found_error")
        state = sale.life.popleft() if len(sale.life) > 1 else sale.life[0]
        self._age(sale)
        status, _, kind = state.partition(":")
        shown: dict[str, Any] = {"id": sale.id, "status": status, "created_at": "2026-11-23T10:00:00Z"}
        if status == "completed":
            across, down = map(int, sale.order["resolution"].split("x"))
            self.files.put(sale.id, tiny_video("16:9" if across > down else "9:16", sale.order["duration"]))
            shown["result"] = {"video_url": self.files.sign(sale.id)}
        if status == "failed":
            shown["error"] = {"type": kind, "message": "the service's own words"}
        return Reply(200, shown)

    def _age(self, sale: Sale) -> None:
        """Record the end of a video that has reached its last state; from then on it takes no slot."""
        if len(sale.life) == 1 and sale.life[0].startswith(("completed", "failed")) and sale.ended_at is None:
            sale.ended_at = self.now()


def make_fake(now: Callable[[], float]) -> FakeLtx:
    """Return a fake with slots and money for any number of jobs."""
    fake = FakeLtx(now)
    fake.most, fake.balance = PLENTY, MUCH_MONEY
    return fake


def takes(order: Any) -> bool:
    """Return whether LTX's documentation allows an order."""
    return _price(order) is not None


def _price(order: Any) -> float | None:
    """Return the price of an order in USD, or None if LTX refuses it."""
    if not isinstance(order, dict) or order.keys() - _FIELDS or not {"prompt", "model", "duration"} <= order.keys():
        return None
    sides = sorted(int(side) for side in str(order.get("resolution")).split("x") if side.isdigit())
    lines, fps = (sides or [0])[0], order.get("fps", 24)
    prices = _PRICES.get(order["model"], {})
    long = order["model"].endswith("-fast") and lines <= 1080 and fps <= 25
    fits = sides == [lines, _SIZES.get(lines)] and fps in (24, 25, 48, 50) and order["prompt"]
    if not fits or lines not in prices or order["duration"] not in (_LONG if long else _SHORT):
        return None
    return prices[lines] * int(order["duration"])
