"""A fake of UseAPI's PixVerse API (v2), after its documentation of 2026.

It records a sale for each accepted create. Videos advance through the states of `life`, one for each poll, so a test
controls the duration of a render without a clock.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tenxsom_flow_engine.services.http.fake_files import PREFIX, Files
from tenxsom_flow_engine.services.http.fake_server import Reply, Request
from tenxsom_flow_engine.services.http.fake_vendor import MUCH_MONEY, PLENTY, FakeVendor, JobKind
from tenxsom_flow_engine.services.tiny_video import tiny_video

TOKEN = "user:7-a-token-that-must-appear-nowhere"
EMAIL = "me@example.org"

#: The kinds of jobs that it sells (see `fake_vendor`).
KINDS: Mapping[str, JobKind] = {"pixverse": JobKind({"duration": 1})}

_CREATE, _VIDEOS = "/pixverse/videos/create", "/pixverse/videos/"
_SCHEDULER, _FEATURES = "/pixverse/scheduler/available", "/pixverse/features/"
_FIELDS = {
    "email", "model", "prompt", "duration", "quality", "aspect_ratio", "seed", "audio", "multi_shot", "off_peak_mode",
    "replyUrl", "replyRef", "maxJobs",
}  # fmt: skip
_NUMBERS = {"COMPLETED": 1, "QUEUED": 5, "MODERATED": 7, "FAILED": 8, "GENERATING": 10}
_OVER = ("COMPLETED", "MODERATED", "FAILED")


@dataclass(slots=True)
class Sale:
    """A sold video and its price in credits."""

    id: str
    order: dict[str, Any]
    credits: float
    #: The remaining states; the last one stays.
    life: deque[str] = field(default_factory=deque)
    usd: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether its render fails."""
        return self.life[-1] == "FAILED"

    @property
    def reference(self) -> str:
        """The reference (`replyRef`) of its create."""
        return str(self.order.get("replyRef", ""))

    @property
    def over(self) -> bool:
        """Whether it no longer takes a slot."""
        return len(self.life) == 1 and self.life[0] in _OVER


class FakeUseApi(FakeVendor):
    """See the module. States: those of PixVerse, `EARLY` (a URL before its video), `404`, or any other word."""

    lives = (
        ("COMPLETED",),
        ("GENERATING", "COMPLETED"),
        ("404", "COMPLETED"),
        ("GENERATING", "EARLY", "COMPLETED"),
    )
    failing = ("GENERATING", "FAILED")

    def __init__(self, *, most: int = 8, emails: Sequence[str] = (EMAIL,)) -> None:
        super().__init__()
        self.key = TOKEN
        self.emails = list(emails)
        self.most = most
        self.life: Sequence[str] = ("COMPLETED",)
        self.balance = 1000.0
        #: Whether the list has the reference of each video, which is not documented.
        self.list_tells_reference = True
        #: Whether the answer to a create has its price; only some samples of the vendor have it.
        self.tells_credits = True
        self.sold: list[Sale] = []
        self.files = Files(lambda: self.url)

    def bills(self) -> Counter[str]:
        """Return the number of videos sold for each job."""
        with self.lock:
            return Counter(sale.reference.partition(".")[0] for sale in self.sold)

    def route(self, request: Request) -> str:
        path = request.bare_path
        if path.startswith(PREFIX):
            return "file"
        if request.method == "POST":
            return "create" if path == _CREATE else "unknown"
        names = {_SCHEDULER: "scheduler", _FEATURES: "features", _VIDEOS: "list"}
        return names.get(path) or ("video" if path.startswith(_VIDEOS) else "unknown")

    def work(self, route: str, request: Request) -> Reply:
        if route == "file":
            return self.files.answer(request)
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            return Reply(401, {"error": "Unauthorized", "code": 401})
        with self.lock:
            match route:
                case "create":
                    return self._create(request.json())
                case "video":
                    return self._video(request.bare_path.removeprefix(_VIDEOS))
                case "list":
                    return self._list(request.query)
                case "scheduler":
                    return self._scheduler()
                case "features":
                    return Reply(200, {"plan_name": "Pro", "credit_daily": 0, "credit_monthly": self.balance})
                case _:
                    return Reply(404, {"error": "Not found"})

    def _create(self, order: Any) -> Reply:
        if not isinstance(order, dict) or not order.get("prompt") or order.keys() - _FIELDS:
            return Reply(400, {"error": "Bad parameter"})
        if type(order.get("duration")) is not int or not 1 <= order["duration"] <= 30:
            return Reply(400, {"error": "duration is out of range"})
        email = order.get("email", self.emails[0])
        if email not in self.emails:
            return Reply(404, {"error": f"Unable to find configuration for account {email}"})
        if self._running(email) >= self.most:
            return Reply(429, {"error": "All slots are taken"})
        credits = 7.0 * order["duration"]
        if credits > self.balance:
            return Reply(412, {"error": "Insufficient credits"})
        self.balance -= credits
        sale = Sale(f"user:7-pixverse:{email}-video:{len(self.sold) + 1}", order, credits, deque(self.life))
        self.sold.append(sale)
        return Reply(200, {"video_id": sale.id} | ({"cost_credits": credits} if self.tells_credits else {}))

    def _video(self, video_id: str) -> Reply:
        sale = next((sale for sale in self.sold if sale.id == video_id), None)
        if sale is None:
            return Reply(400 if "%" in video_id else 404, {"error": "No such video"})
        state = sale.life.popleft() if len(sale.life) > 1 else sale.life[0]
        return Reply(404, {"error": "Video not found"}) if state == "404" else Reply(200, self._shown(sale, state))

    def _shown(self, sale: Sale, state: str) -> dict[str, Any]:
        name = "GENERATING" if state in ("EARLY", "404") else state
        shown: dict[str, Any] = {
            "video_id": sale.id, "video_status": _NUMBERS.get(name, 99), "video_status_name": name,
            "video_status_final": name not in ("GENERATING",), "model": sale.order["model"],
            "duration": sale.order["duration"],
        }  # fmt: skip
        if state in ("EARLY", "COMPLETED"):
            name = f"{sale.id.rpartition(':')[2]}.mp4"
            self.files.put(name, tiny_video(sale.order.get("aspect_ratio", "9:16"), sale.order["duration"]))
            shown["url"] = self.files.sign(name)
        if state == "COMPLETED":
            shown |= {"output_width": 54, "output_height": 96}
        return shown

    def _list(self, query: dict[str, str]) -> Reply:
        limit, offset = int(query.get("limit", 40)), int(query.get("offset", 0))
        email = query.get("email", self.emails[0])
        mine = [sale for sale in reversed(self.sold) if f":{email}-" in sale.id][offset : offset + limit]
        shown = [
            self._shown(sale, sale.life[0]) | ({"replyRef": sale.reference} if self.list_tells_reference else {})
            for sale in mine
        ]
        return Reply(200, {"data": shown})

    def _scheduler(self) -> Reply:
        executing = [
            {"id": sale.id, "type": "create", "elapsed": "00:10", "replyRef": sale.reference}
            for sale in self.sold
            if not sale.over
        ]
        available = []
        for email in self.emails:
            running = self._running(email)
            room = max(0, self.most - running)
            available.append({"email": email, "maxJobs": self.most, "executing": running, "available": room})
        return Reply(200, {"executing": executing, "available": available})

    def _running(self, email: str) -> int:
        return sum(f":{email}-" in sale.id and not sale.over for sale in self.sold)


def make_fake(now: Callable[[], float]) -> FakeUseApi:
    """Return a fake with slots and money for any number of jobs; it needs no clock."""
    fake = FakeUseApi(most=PLENTY)
    fake.balance = MUCH_MONEY
    return fake
