"""The configuration of drafts, and the options of a job that take precedence over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from tenxsom_flow_engine.env import Variable
from tenxsom_flow_engine.errors import ConfigurationError
from tenxsom_flow_engine.services.draft.render.formats import SAFE_AREAS


def _read_safe_area(variable: str, text: str) -> str:
    if text not in SAFE_AREAS:
        raise ConfigurationError(f"{variable} must be {' or '.join(SAFE_AREAS)}, not {text!r}")
    return text


@dataclass(frozen=True, slots=True)
class DraftConfig:
    """The variables of the draft service, which is always configured."""

    mark: Annotated[bool, Variable("TENXSOM_DRAFT_MARK", "whether drafts carry a large mark DRAFT")] = False
    safe_area: Annotated[
        str,
        Variable(
            "TENXSOM_DRAFT_SAFE_AREA",
            "where drafts have text: `standard`, or `reels`, which in 9:16 keeps free what Instagram covers: "
            "the top 14 % and the lower 35 %",
            read=_read_safe_area,
        ),
    ] = SAFE_AREAS[0]
    in_step: Annotated[
        bool,
        Variable(
            "TENXSOM_DRAFT_IN_STEP",
            "whether a draft is rendered within the step that publishes it, for platforms that give a container no "
            "processor between requests, such as Cloud Run",
        ),
    ] = False


class DraftOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options under `options["draft"]`; one that is not given is taken from the config."""

    mark: bool | None = None
    safe_area: Literal["standard", "reels"] | None = None
