"""What a right alone does not allow: steps that take somebody who is there just now."""

import time

from django.conf import settings

from core.exceptions import ReauthenticationRequired


def require_recent_sign_in(request) -> None:
    """Raise where the person of the session did not prove lately who they are.

    For steps that a session left open must not allow, such as an export of everything.
    The client signs in once more (`/api/auth/app/v1/auth/reauthenticate`) and tries
    again. A program cannot do that: who comes with an API key may do what its scopes
    say, for which its owner was asked when the key was made.

    Args:
        request: of the API or of a page, with a user who is signed in.

    Raises:
        ReauthenticationRequired: 403 with the code `reauthentication_required`.
    """
    if request.user.api_key:
        return
    age = time.time() - request.user.signed_in_at(request)
    if age >= settings.ACCOUNT_REAUTHENTICATION_TIMEOUT:
        raise ReauthenticationRequired()
