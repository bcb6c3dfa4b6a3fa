"""gunicorn's settings, read from the environment at import, as gunicorn wants them.

`gunicorn -c python:tenxsom_flow_engine.web.gunicorn_conf tenxsom_flow_engine.web.wsgi:app`
"""

from tenxsom_flow_engine.web.server import configuration

globals().update(configuration())
