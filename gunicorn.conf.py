"""For `gunicorn -c gunicorn.conf.py cloud_tasks_worker:app`; what is set, and why, stands in `web/server.py`.

gunicorn's own flags win, e.g. `-b 127.0.0.1:9000`, or `-w 4` for four processes.
"""

from tenxsom_flow_engine.web.server import configuration

globals().update(configuration())
