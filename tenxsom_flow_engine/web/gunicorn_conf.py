"""gunicorn's settings, read from the environment at import, because gunicorn expects module globals.

`gunicorn -c python:tenxsom_flow_engine.web.gunicorn_conf tenxsom_flow_engine.web.wsgi:app`
"""

from tenxsom_flow_engine.web.server import configuration

globals().update(configuration())
