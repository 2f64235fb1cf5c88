"""What people choose for themselves: the shape of it, and its defaults."""

from django.core.exceptions import ValidationError

from core.jsonvalues import check
from core.models import Notification

EVENTS = tuple(Notification.Event.values)
CHANNELS = ("in_app", "email")
# Whoever waits for a job looks at it in the app; the rest may find them elsewhere.
NOT_BY_DEFAULT = {(Notification.Event.JOB_DONE.value, "email")}
NOTIFICATIONS_HELP = (
    f"For each of {', '.join(EVENTS)} an object of {' and '.join(CHANNELS)}, true or"
    " false. What is not given is true, but for the e-mail of a job that is done."
)
MAX_DASHBOARD_CHARACTERS = 20_000


def default_notifications() -> dict:
    return {
        event: {name: (event, name) not in NOT_BY_DEFAULT for name in CHANNELS}
        for event in EVENTS
    }


def complete_notifications(given) -> dict:
    """All the choices: those given, and for the rest the default.

    Raises:
        ValidationError: something is not known, or neither true nor false.
    """
    choices = default_notifications()
    for event, channels in _object(given).items():
        if event not in choices:
            raise ValidationError(f"There is no '{event}'.", "unknown_field")
        for channel, wanted in _object(channels).items():
            if channel not in CHANNELS:
                raise ValidationError(
                    f"There is no '{event}.{channel}'.", "unknown_field"
                )
            if not isinstance(wanted, bool):
                raise ValidationError(
                    f"'{event}.{channel}': give true or false.", "invalid"
                )
            choices[event][channel] = wanted
    return choices


def check_dashboard(given) -> dict:
    """Any object that is not too large: what it means is the frontend's business."""
    try:
        check(_object(given))
    except ValueError as error:
        raise ValidationError(str(error), "invalid") from None
    if len(str(given)) > MAX_DASHBOARD_CHARACTERS:
        raise ValidationError(
            f"At most {MAX_DASHBOARD_CHARACTERS} characters.", "max_length"
        )
    return given


def _object(value) -> dict:
    if not isinstance(value, dict):
        raise ValidationError("Give an object.", "not_an_object")
    return value
