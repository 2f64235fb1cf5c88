"""How Gunicorn serves MyCRM: `gunicorn backend.wsgi:application` in this folder.

The parser in C (gunicorn_h1c) needs no setting: Gunicorn takes it if it is installed.
"""

import os
import sys
import time
from pathlib import Path

import environ
from gunicorn import glogging

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gunicorn_worker import (  # noqa: F401
    PatientWorker,
    post_fork,
    post_worker_init,
    pre_fork,
)

environ.Env.read_env(Path(__file__).resolve().parent.parent / ".env")
env = os.environ.get

# Addresses with commas, such as unix:/run/mycrm/web.sock,127.0.0.1:8001.
bind = (env("BIND") or f"{env('HOST') or '127.0.0.1'}:{env('PORT') or 8000}").split(",")

# More processes than this would only take memory from everything else on a laptop.
workers = int(env("WEB_CONCURRENCY") or min(os.cpu_count() or 1, 4))
# gthread, but without a gap on SIGHUP.
worker_class = PatientWorker
threads = int(env("WEB_THREADS") or 4)
# Nginx keeps its connections; its own time-out is shorter, so that none is closed by us
# just when a request comes.
keepalive = 75

# Filters take many values.
limit_request_line = 8190

timeout = 30
graceful_timeout = 30
# Memory that leaks is given back now and then, not by all processes at once.
max_requests = int(env("WEB_MAX_REQUESTS") or 100_000)
max_requests_jitter = max_requests // 5
# Heartbeats of the workers on a disk can block; in memory they do not.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108

# Its workers come and go; for /api/health/ the server is as old as its first.
os.environ.setdefault("MYCRM_STARTED_AT", str(time.time()))

accesslog = env("ACCESS_LOG") or None


class Logger(glogging.Logger):
    """Tells of requests only where somebody reads it: Nginx does in production.

    With any `logconfig_dict` Gunicorn would word a line for each, and throw it away.
    """

    def access(self, resp, req, environ, request_time):
        if self.cfg.accesslog:
            super().access(resp, req, environ, request_time)


logger_class = Logger
if env("DJANGO_SETTINGS_MODULE") == "backend.settings_production":
    from core.logs import configuration

    logconfig_dict = configuration(env("LOG_LEVEL") or "INFO")
# Its place is shared by everything of one user: two installations would collide.
control_socket_disable = True
