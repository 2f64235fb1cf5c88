"""Logs of production: a line of JSON for each event, and nothing of a person in it.

What a line says of its request or task it looks up when it is written, so a request
that logs nothing pays nothing. Names, addresses and what people typed stay out: texts
are masked, and of an error of the database only the first line is kept, because the
next ones show the values.
"""

import re

import structlog
from celery import current_task
from django.db import DatabaseError

from core.origin import actor, request_now

MASKS = [
    (re.compile(r"[^\s@'\"<>(),:;=/]+@[^\s@'\"<>(),:;=/]+"), "[e-mail]"),
    # What a search was for. The end of a sentence is followed by a space.
    (re.compile(r"\?[^\s'\"]*=[^\s'\"]*"), "?[query]"),
    # Telephone numbers; dates and ids are none.
    (
        re.compile(r"(?<![\w-])(?!\d{4}-\d\d-\d\d)\+?\d[\d ().-]{6,}\d(?![\w-])"),
        "[number]",
    ),
]


def masked(text: str) -> str:
    for pattern, instead in MASKS:
        text = pattern.sub(instead, text)
    return text


def job(job_id):
    """While this is open, lines tell of which job they are."""
    return structlog.contextvars.bound_contextvars(job_id=str(job_id))


def add_origin(logger, method: str, event: dict) -> dict:
    """Which request or which task it was."""
    record = event.get("_record")
    request = getattr(record, "request", None) or request_now.get()
    if hasattr(request, "id"):
        event["request_id"] = request.id
        event["method"] = request.method
        event["path"] = request.path
        user, organization = actor(request)
        if user:
            event["user"], event["organization"] = user, organization
    if current_task:
        event["task"] = current_task.name
        event["task_id"] = current_task.request.id
    return event


def add_error(logger, method: str, event: dict) -> dict:
    """The type of an exception, what it said, and where it came from."""
    info = event.pop("exc_info", None)
    if not info or info[1] is None:
        return event
    error = info[1]
    said = str(error)
    if isinstance(error, DatabaseError):
        said = said.partition("\n")[0]
    event["error"] = f"{type(error).__name__}: {said}"
    frames, traceback = [], info[2]
    while traceback:
        code = traceback.tb_frame.f_code
        frames.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    event["traceback"] = frames
    return event


def mask(logger, method: str, event: dict) -> dict:
    """The last step before the line is written: no text leaves unmasked."""
    for name in ("event", "error", "path"):
        if name in event:
            event[name] = masked(str(event[name]))
    return event


def _without_details(logger, method: str, event: dict) -> dict:
    """PostgreSQL's DETAIL, HINT and rows, where a message quotes its error."""
    event["event"] = re.split(r"\n(?:DETAIL|CONTEXT|LINE)\b", str(event["event"]))[0]
    return event


FORMATTER = {
    "()": structlog.stdlib.ProcessorFormatter,
    "foreign_pre_chain": [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", key="time"),
    ],
    "processors": [
        structlog.contextvars.merge_contextvars,
        add_origin,
        add_error,
        _without_details,
        mask,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.JSONRenderer(),
    ],
}


def configuration(level: str) -> dict:
    """For `logging.config.dictConfig`: of Django, and of Gunicorn's own loggers."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": FORMATTER},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "json"}
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # What a client did wrong is told to the client.
            "django.request": {"level": "ERROR"},
            # That there is no .env is nothing to tell.
            "environ.environ": {"level": "WARNING"},
            "gunicorn.error": {"level": level, "handlers": [], "propagate": True},
        },
    }
