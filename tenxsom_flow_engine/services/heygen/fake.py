"""A fake of HeyGen's API (v3), after its documentation of 2026.

It records a sale for each accepted create. Agents and videos advance through the states of `agent_life` and `life`, one
for each poll; `now` serves only the documented time limits, such as the day for which an idempotency key is honoured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tenxsom_flow_engine.services.http.fake_files import PREFIX, Files
from tenxsom_flow_engine.services.http.fake_server import Reply, Request
from tenxsom_flow_engine.services.http.fake_vendor import MUCH_MONEY, PLENTY, FakeVendor, JobKind
from tenxsom_flow_engine.services.tiny_video import tiny_video

KEY = "hg-a-key-that-must-appear-nowhere"
AVATAR, VOICE = "look_1", "voice_1"
#: The kinds of jobs that it sells (see `fake_vendor`); only a script is bought with an idempotency key.
KINDS: Mapping[str, JobKind] = {
    "agent": JobKind({"duration": 4}, "create_agent"),
    "script": JobKind({"options": {"heygen": {"script": "Tides rise.", "avatar_id": AVATAR}}}),
}
#: Seconds for which the first answer to a key is repeated.
KEY_LASTS = 86400.0

_AGENTS, _VIDEOS, _ME = "/v3/video-agents", "/v3/videos", "/v3/users/me"
_AGENT_FIELDS = {"prompt", "mode", "orientation", "avatar_id", "voice_id", "style_id", "brand_kit_id"}
_VIDEO_FIELDS = {
    "type", "title", "script", "avatar_id", "voice_id", "voice_settings", "aspect_ratio", "resolution", "engine"
}  # fmt: skip
_OVER = ("completed", "failed")


def error(status: int, code: str, message: str = "the service's own words", **headers: str) -> Reply:
    """Return an error answer in HeyGen's format."""
    body = {"error": {"code": code, "message": message, "param": None, "doc_url": "https://developers.heygen.com"}}
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass(slots=True)
class Sale:
    """A sold video of an agent or a script, and its price in USD."""

    id: str
    order: dict[str, Any]
    #: The idempotency key of its create; empty for an agent.
    key: str
    usd: float
    sold_at: float
    #: Length of its video in seconds.
    length: int
    #: The remaining states, of the agent and then of the video; the last one stays.
    agent_life: deque[str] = field(default_factory=deque)
    life: deque[str] = field(default_factory=deque)
    stopped: bool = False
    credits: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether its render fails."""
        return self.life[-1] == "failed"

    @property
    def over(self) -> bool:
        """Whether it no longer takes a slot."""
        return self.stopped or (len(self.life) == 1 and self.life[0] in _OVER)


class FakeHeyGen(FakeVendor):
    """See the module. The states are those of HeyGen."""

    lives = (("completed",), ("waiting", "processing", "completed"))
    failing = ("failed",)
    variables = MappingProxyType({"HEYGEN_PRICES": "agent=0.05 avatar_iv=0.05"})

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self.now = now
        self.key = KEY
        self.most = 10
        self.agent_life: Sequence[str] = ("completed",)
        self.life: Sequence[str] = ("completed",)
        self.balance = 1000.0
        #: The billing part of `GET /v3/users/me`; None: a wallet with the remaining balance.
        self.billing: dict[str, Any] | None = None
        #: Returns the length of a video in seconds for its order; by default by the script, and 4 for an agent.
        self.length: Callable[[dict[str, Any]], int] = lambda order: max(1, len(order.get("script", "x" * 60)) // 15)
        #: Whether the answer for a finished video has its duration.
        self.tells_length = True
        #: Called during each create with a key, while other requests with that key are refused.
        self.while_creating: Callable[[], None] = lambda: None
        self.sold: list[Sale] = []
        self.files = Files(lambda: self.url)
        self._creating: set[str] = set()
        #: The first answer to each key, with its time.
        self._answers: dict[str, tuple[float, Reply]] = {}

    def route(self, request: Request) -> str:
        path = request.bare_path
        if path.startswith(PREFIX):
            return "file"
        if request.method == "POST":
            names = {_AGENTS: "create_agent", _VIDEOS: "create"}
            return names.get(path) or ("stop" if path.startswith(_AGENTS) and path.endswith("/stop") else "unknown")
        if path == _ME:
            return "me"
        return "agent" if path.startswith(f"{_AGENTS}/") else "video" if path.startswith(f"{_VIDEOS}/") else "unknown"

    def work(self, route: str, request: Request) -> Reply:
        if route == "file":
            return self.files.answer(request)
        if request.headers.get("X-Api-Key") != self.key:
            return error(401, "unauthorized")
        if route == "create" and (key := request.headers.get("Idempotency-Key", "")):
            return self._create_once(key, request.json())
        with self.lock:
            match route:
                case "create":
                    return self._create(request.json(), "")
                case "create_agent":
                    return self._create_agent(request.json())
                case "agent":
                    return self._agent(request.bare_path.removeprefix(f"{_AGENTS}/"))
                case "stop":
                    return self._stop(request.bare_path.removeprefix(f"{_AGENTS}/").removesuffix("/stop"))
                case "video":
                    return self._video(request.bare_path.removeprefix(f"{_VIDEOS}/"))
                case "me":
                    wallet = {"currency": "usd", "remaining_balance": self.balance, "auto_reload": None}
                    return Reply(200, {"data": self.billing or {"billing_type": "wallet", "wallet": wallet}})
                case _:
                    return error(404, "resource_not_found")

    def _create_once(self, key: str, order: Any) -> Reply:
        """Create with an idempotency key: the first answer is repeated for a day, even for a different order."""
        with self.lock:
            known = self._answers.get(key)
            if known is not None and self.now() < known[0] + KEY_LASTS:
                return known[1]
            if key in self._creating:
                return error(409, "request_in_progress")
            self._creating.add(key)
        try:
            self.while_creating()
            with self.lock:
                answer = self._create(order, key)
                if answer.status == 200:
                    self._answers[key] = (self.now(), answer)
                return answer
        finally:
            with self.lock:
                self._creating.discard(key)

    def _create(self, order: Any, key: str) -> Reply:
        if not isinstance(order, dict) or order.get("type") != "avatar" or order.keys() - _VIDEO_FIELDS:
            return error(400, "invalid_parameter")
        if not 1 <= len(order.get("script", "")) <= 5000:
            return error(400, "invalid_parameter", "script must have 1 to 5000 characters")
        return self._sell(order, key) or Reply(
            200, {"data": {"video_id": self.sold[-1].id, "status": "waiting", "output_format": "mp4"}}
        )

    def _create_agent(self, order: Any) -> Reply:
        if not isinstance(order, dict) or order.keys() - _AGENT_FIELDS or not order.get("prompt"):
            return error(400, "invalid_parameter")
        if len(order["prompt"]) > 10_000:
            return error(413, "payload_too_large")
        refusal = self._sell(order, "")
        if refusal is not None:
            return refusal
        self.sold[-1].agent_life = deque(self.agent_life)
        return Reply(200, {"data": self._session(self.sold[-1], self.agent_life[0])})

    def _sell(self, order: dict[str, Any], key: str) -> Reply | None:
        """Sell a video, or return a refusal."""
        if order.get("avatar_id", AVATAR) != AVATAR:
            return error(404, "avatar_not_found")
        if order.get("voice_id", VOICE) != VOICE:
            return error(400, "voice_unavailable")
        length = self.length(order)
        usd = 0.05 * length
        if usd > self.balance:
            return error(402, "insufficient_credit")
        if sum(not sale.over for sale in self.sold) >= self.most:
            return error(429, "rate_limit_exceeded", Retry_After="40")
        self.balance -= usd
        number = f"{len(self.sold) + 1:04}"
        self.sold.append(Sale(number, order, key, usd, self.now(), length, life=deque(self.life)))
        return None

    def _agent(self, session_id: str) -> Reply:
        sale = self._find(session_id, agent=True)
        if sale is None:
            return error(404, "resource_not_found")
        state = sale.agent_life.popleft() if len(sale.agent_life) > 1 else sale.agent_life[0]
        return Reply(200, {"data": self._session(sale, "failed" if sale.stopped else state)})

    def _session(self, sale: Sale, state: str) -> dict[str, Any]:
        return {
            "session_id": sale.id, "status": state, "progress": 100 if state == "completed" else 40,
            "video_id": sale.id if state == "completed" else None, "created_at": int(sale.sold_at),
        }  # fmt: skip

    def _stop(self, session_id: str) -> Reply:
        sale = self._find(session_id, agent=True)
        if sale is None:
            return error(404, "resource_not_found")
        sale.stopped = True
        return Reply(200, {"data": {"session_id": sale.id, "status": "stopped"}})

    def _video(self, video_id: str) -> Reply:
        sale = self._find(video_id, agent=False)
        # An agent's video exists only once its agent has completed.
        if sale is None or (sale.agent_life and sale.agent_life[0] != "completed"):
            return error(404, "video_not_found")
        state = sale.life.popleft() if len(sale.life) > 1 else sale.life[0]
        shown: dict[str, Any] = {"id": sale.id, "status": state, "created_at": int(sale.sold_at)}
        if state == "completed":
            portrait = sale.order.get("orientation") == "portrait" or sale.order.get("aspect_ratio") == "9:16"
            self.files.put(sale.id, tiny_video("9:16" if portrait else "16:9", sale.length))
            length = float(sale.length) if self.tells_length else None
            shown |= {"video_url": self.files.sign(sale.id), "duration": length}
        if state == "failed":
            shown |= {"failure_code": "render_failed", "failure_message": "the service's own words"}
        return Reply(200, {"data": shown})

    def _find(self, id: str, *, agent: bool) -> Sale | None:
        return next((sale for sale in self.sold if sale.id == id and (bool(sale.agent_life) or not agent)), None)


def make_fake(now: Callable[[], float]) -> FakeHeyGen:
    """Return a fake with slots and money for any number of jobs, whose agents think before their videos start."""
    fake = FakeHeyGen(now)
    fake.most, fake.balance, fake.agent_life = PLENTY, MUCH_MONEY, ("thinking", "completed")
    return fake
