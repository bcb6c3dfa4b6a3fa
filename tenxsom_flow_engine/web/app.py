"""The Flask application: routes over what the process has open. Each group of routes is a blueprint of its own."""

from __future__ import annotations

from flask import Flask

from tenxsom_flow_engine.web.answers import tell_errors
from tenxsom_flow_engine.web.auth import Access
from tenxsom_flow_engine.web.deliveries import deliveries
from tenxsom_flow_engine.web.health import health
from tenxsom_flow_engine.web.parts import Parts

#: Bytes of a request's body. Cloud Tasks stores tasks of less than 1 MiB, all counted.
MAX_BODY = 1024 * 1024 + 64 * 1024


def create_app(parts: Parts, access: Access, *, concurrency: int) -> Flask:
    """Return the application of a worker that takes `concurrency` steps at once; opens nothing."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    tell_errors(app)
    app.register_blueprint(deliveries(parts, access, concurrency))
    app.register_blueprint(health(parts))
    return app
