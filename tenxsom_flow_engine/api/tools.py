"""The tools of the MCP server: routes of the API with the arguments and descriptions that an assistant needs.

Buying takes two calls: `plan_videos` shows the price, and `add_plan` adds exactly the plan that the user has confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tenxsom_flow_engine.api import adding, jobs, operating, types
from tenxsom_flow_engine.api.local import Answer, LocalApi
from tenxsom_flow_engine.api.requests import decode
from tenxsom_flow_engine.api.routes import Route
from tenxsom_flow_engine.api.types import Body, JobId, NoQuery
from tenxsom_flow_engine.errors import InvalidInput

INSTRUCTIONS = """\
Make videos with the Tenxsom Flow Engine. First plan_videos: it shows the price, and buys nothing. Show the price and \
the jobs to the user. Only after the user has confirmed them, call add_plan with the token of the plan. Then \
follow_job until the job is succeeded, failed, cancelled or held. A held job needs the decision of a person.
"""


class PlanVideos(Body):
    """The videos to plan."""

    jobs: Annotated[list[types.NewJob], Meta(min_length=1, max_length=types.MOST_JOBS)]


class FollowJob(Body):
    """A job, and how long to wait for it."""

    job_id: JobId
    wait: Annotated[float, Meta(ge=0, le=types.MAX_WAIT, description="Seconds to wait until it ends.")] = 0.0


class OneJob(Body):
    """A job."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: its arguments as a type, and how it calls a route."""

    name: str
    description: str
    arguments: type[Body]
    call: Callable[[LocalApi, Mapping[str, Any]], Answer]
    #: Whether it adds and changes no job.
    reads: bool = True

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments, an object."""
        found = msgspec.json.schema(self.arguments)
        own: dict[str, Any] = found["$defs"].pop(found["$ref"].rpartition("/")[2])
        return own | ({"$defs": found["$defs"]} if found["$defs"] else {})

    def run(self, api: LocalApi, arguments: Mapping[str, Any]) -> Answer:
        """Check the arguments and call the route; wrong arguments are an answer that names them."""
        try:
            decode(msgspec.json.encode(arguments), self.arguments)
        except InvalidInput as error:
            return Answer(400, {"code": error.code, "detail": error.message, "field": error.field})
        return self.call(api, arguments)


def _route(routes: tuple[Route, ...], method: str, path: str) -> Route:
    return next(route for route in routes if (route.method, route.path) == (method, path))


_PLAN, _ADD = _route(adding.ROUTES, "POST", "/plans"), _route(adding.ROUTES, "POST", "/jobs")
_LIST, _SHOW = _route(jobs.ROUTES, "GET", "/jobs"), _route(jobs.ROUTES, "GET", "/jobs/{job_id}")
_CANCEL = _route(jobs.ROUTES, "POST", "/jobs/{job_id}/cancel")
_RETRY = _route(jobs.ROUTES, "POST", "/jobs/{job_id}/retry")
_BUDGETS, _SERVICES = _route(operating.ROUTES, "GET", "/budgets"), _route(operating.ROUTES, "GET", "/services")


def _follow(api: LocalApi, given: Mapping[str, Any]) -> Answer:
    return api.call(_SHOW, place={"job_id": given["job_id"]}, query={"wait": given.get("wait", 0)})


def _list(api: LocalApi, given: Mapping[str, Any]) -> Answer:
    return api.call(_LIST, query=given)


def _on_job(route: Route) -> Callable[[LocalApi, Mapping[str, Any]], Answer]:
    return lambda api, given: api.call(route, place={"job_id": given["job_id"]})


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "plan_videos",
            "Plan videos: price, service, start and adjustments of each, and the budgets that do not cover them. Buys "
            "nothing. Show the price to the user and ask for confirmation before add_plan.",
            PlanVideos, lambda api, given: api.call(_PLAN, body=given["jobs"]),
        ),
        Tool(
            "add_plan",
            "Add exactly the videos of a plan, which buys them at the price that was shown. Call it only after the "
            "user has confirmed the plan. Calling it again adds nothing twice.",
            types.PlanReference, lambda api, given: api.call(_ADD, body=given), reads=False,
        ),
        Tool("list_jobs", "List jobs, the newest first.", types.JobsQuery, _list),
        Tool("follow_job", "Show a job with cost, error and timeline; with wait, when it ends.", FollowJob, _follow),
        Tool(
            "cancel_job", "Cancel a job. A video that is already bought is not refunded.", OneJob, _on_job(_CANCEL),
            reads=False,
        ),
        Tool(
            "retry_job",
            "Retry a failed or cancelled job. It can buy the video again: ask the user before.",
            OneJob, _on_job(_RETRY), reads=False,
        ),
        Tool("show_budgets", "Show the budgets and their use.", NoQuery, lambda api, given: api.call(_BUDGETS)),
        Tool("show_services", "Show the services and their states.", NoQuery, lambda api, given: api.call(_SERVICES)),
    )
}  # fmt: skip
