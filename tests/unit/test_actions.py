"""Only the command line names commands; every front end has a text for every action."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import flask
import pytest

import tenxsom_flow_engine
from tenxsom_flow_engine.cli.advice import advise, next_step
from tenxsom_flow_engine.cli.main import cli
from tenxsom_flow_engine.errors import Action, ActionRefused, FlowError
from tenxsom_flow_engine.jobs import Failure
from tenxsom_flow_engine.web.dashboard.advice import in_words, links
from tenxsom_flow_engine.web.errors import refusal

PACKAGE = Path(tenxsom_flow_engine.__file__).parent
ROOT = PACKAGE.parent
#: Its descriptions of variables are copied into the manual.
MANUAL = PACKAGE / "settings.py"


def sources(*endings: str) -> list[Path]:
    """Return the files of the package outside `cli/`."""
    files = (path for ending in endings for path in PACKAGE.rglob(f"*{ending}"))
    return sorted(path for path in files if PACKAGE / "cli" not in path.parents)


def commands(group: click.Group, *above: str) -> Iterator[str]:
    """Give the names of all commands within a group: `limits set`."""
    for name, command in group.commands.items():
        yield " ".join((*above, name))
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)


def flags(command: click.Command) -> Iterator[str]:
    """Give the long options of a command and all commands below it."""
    for parameter in command.params:
        yield from (name for name in parameter.opts if name.startswith("--"))
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from flags(below)


def texts(path: Path) -> Iterator[str]:
    """Give the strings of a module except docstrings, or the whole text of another file."""
    if path.suffix != ".py":
        yield path.read_text("utf-8")
        return
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = ""
    yield from (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


SCRIPTS = [re.escape(path.name) for path in sorted(ROOT.glob("*.py")) if path.name != "gunicorn.conf.py"]
#: One of our scripts, or the installed command.
NAMED = re.compile(rf"(?<![\w./])(?:{'|'.join([*SCRIPTS, 'tenxsom-flow '])})")
#: A quoted command: without the quotation mark, many commands are also plain English words.
QUOTED = re.compile(rf"`(?:{'|'.join(commands(cli))})\b")
FLAGS = re.compile(rf"(?<![\w-])(?:{'|'.join(sorted(map(re.escape, set(flags(cli)))))})(?![\w-])")


def test_the_patterns_match_commands_only() -> None:
    """The patterns match scripts, commands and options, but not plain English."""
    for text in ("run_flow_enhanced.py retry a", "python3 worker.py", "see cloud_tasks_worker.py", "tenxsom-flow jobs"):
        assert NAMED.search(text), text
    assert QUOTED.search("type `limits set`")
    assert FLAGS.search("ask for --daily-count 3")
    for text in ("resume the queue", "workers.pull", "retry it", "--user-data-dir"):
        assert not any(pattern.search(text) for pattern in (NAMED, QUOTED, FLAGS)), text


@pytest.mark.parametrize("path", sources(".py", ".html", ".js"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_names_scripts_and_commands(path: Path) -> None:
    """No string or template outside `cli/` names one of our scripts, commands or options."""
    patterns = [NAMED] if path == MANUAL else [NAMED, QUOTED, FLAGS]
    assert not [match.group() for text in texts(path) for pattern in patterns for match in pattern.finditer(text)]


@pytest.mark.parametrize("action", Action)
def test_the_command_line_words_every_action(action: Action) -> None:
    """Each action is worded as an existing command that names the job or service."""
    advice = advise("", (action,), "tides")
    program, command = advice.partition(": ")[2].split()[:2]
    assert program == "tenxsom-flow"
    assert command in cli.commands
    general = advise("check the service", (action,))
    assert general.startswith("check the service; ")
    assert "tides" not in general


@pytest.mark.parametrize("action", Action)
def test_the_dashboard_words_every_action(action: Action) -> None:
    """Each action is a link to its button, or plain text if the dashboard has no button for it."""
    app = flask.Flask("dashboard")
    for endpoint, rule in (
        ("job.page", "/jobs/<job_id>"),
        ("add.page", "/add"),
        ("jobs.page", "/jobs"),
        ("overview.page", "/"),
        ("endpoints.page", "/endpoints"),
    ):
        app.add_url_rule(rule, f"dashboard.{endpoint}", lambda **_: "")
    with app.test_request_context():
        (link,) = links((action,), "tides")
        assert link.text
        assert link.url.startswith("/") or action in (
            Action.START_WORKER, Action.START_PUSH_WORKER, Action.CREATE_QUEUE, Action.UPDATE_QUEUE,
            Action.REPAIR_CLOCK, Action.ACCEPT_UNSEEN, Action.NAME_SERVICE, Action.LIST_OTHER_QUEUE, Action.RESTORE,
            Action.ADD_TOPICS, Action.SHOW_SCHEDULE, Action.START_FALLBACK_WORKER,
        )  # fmt: skip
        for unnamed in links((action,)):
            assert "tides" not in unnamed.url


def test_an_error_is_worded_by_each_front_end() -> None:
    """The same error names a command in a terminal, actions in JSON, and neither on a page."""
    error = ActionRefused("job a is lost", next_step="look for it", actions=(Action.RESUBMIT,), subject="a")
    assert next_step(error) == "look for it; if it was not accepted: tenxsom-flow jobs resolve a --resubmit"
    assert in_words(error) == str(error) == "job a is lost (look for it)"
    assert in_words(FlowError("no queue", actions=(Action.CREATE_QUEUE,))) == "no queue. Create the queue"
    with flask.Flask("web").test_request_context():
        answer = refusal(error).get_json()
    assert answer["error"] == {
        "code": "action_refused", "message": "job a is lost", "next_step": "look for it", "actions": ["resubmit"]
    }  # fmt: skip
    assert Failure.of(error).actions == (Action.RESUBMIT,)
