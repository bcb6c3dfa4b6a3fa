"""`/add`: adding work."""

from __future__ import annotations

from flask import Blueprint, render_template

from tenxsom_flow_engine.web.desk import Desk


def add(desk: Desk) -> Blueprint:
    """Return the page."""
    blueprint = Blueprint("add", __name__)

    @blueprint.get("/add")
    def page() -> str:
        return render_template("add.html")

    return blueprint
