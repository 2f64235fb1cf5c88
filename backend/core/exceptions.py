"""The errors of the API, beside those of DRF. core.problems makes answers of them."""

from rest_framework import exceptions

RETRY_SECONDS = 2


class Conflict(exceptions.APIException):
    """The state of things does not allow this (409)."""

    status_code = 409
    default_code = "conflict"
    default_detail = "The current state does not allow this."

    def __init__(self, detail=None, code=None, **extra):
        super().__init__(detail, code)
        self.extra = extra


class Gone(exceptions.APIException):
    """It was there, and is not any more (410)."""

    status_code = 410
    default_code = "gone"
    default_detail = "This is not there any more."


class StaleRecord(Conflict):
    """Somebody changed the record between its reading and its writing."""

    default_code = "stale"
    default_detail = "The record was changed by somebody else in the meantime."


class PreconditionFailed(exceptions.APIException):
    """`If-Match` names another version than the current one (412).

    Args:
        current: the record's present representation; None where there is no record.
        etag: its ETag.
    """

    status_code = 412
    default_code = "stale"
    default_detail = "The record has changed since it was read."

    def __init__(self, current: dict | None = None, etag: str | None = None):
        super().__init__()
        self.extra = {"current": current}
        self.headers = {"ETag": etag} if etag else {}


class ReauthenticationRequired(exceptions.PermissionDenied):
    """This takes somebody who proved just now who they are (403)."""

    default_code = "reauthentication_required"
    default_detail = "Sign in once more for this step, and try again."


class Busy(exceptions.APIException):
    """Something needed for the answer is away or locked for now (503)."""

    status_code = 503
    default_code = "unavailable"
    default_detail = "The service is busy or restarting. Please try again."
    wait = RETRY_SECONDS


class StorageFull(exceptions.APIException):
    """The disk holds no more files (507); what is read only is answered still."""

    status_code = 507
    default_code = "storage_full"
    default_detail = "There is no room left to store this. Nothing was stored."


def bad_parameter(name: str, detail: str, code: str = "invalid"):
    """A 400 that names one parameter, field or header."""
    return exceptions.ValidationError({name: exceptions.ErrorDetail(detail, code)})


class TooLarge(exceptions.APIException):
    status_code = 413
    default_code = "too_large"
    default_detail = "The request is too large."
