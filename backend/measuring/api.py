"""A client of the API that adds little to what is measured."""

import http.client
import json
import ssl
from urllib.parse import urlsplit

TIMEOUT = 60


class Api:
    """A connection that stays, and the token that goes with each request, if any.

    After a failure the next request opens another connection. Certificates are taken
    as they are: servers that are measured have made their own.
    """

    def __init__(self, url: str, token: str = ""):
        address = urlsplit(url)
        if address.scheme == "https":
            context = ssl._create_unverified_context()  # noqa: S323
            self.connection = http.client.HTTPSConnection(
                address.netloc, timeout=TIMEOUT, context=context
            )
        else:
            self.connection = http.client.HTTPConnection(
                address.netloc, timeout=TIMEOUT
            )
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body=None, **headers) -> tuple:
        """(status, headers, bytes) of the answer.

        Args:
            body: sent as JSON, or as it is where it is bytes.

        Raises:
            OSError, HTTPException: there was no whole answer.
        """
        sent = {**self.headers, **headers}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body)
            sent["Content-Type"] = "application/json"
        try:
            self.connection.request(method, path, body, sent)
            response = self.connection.getresponse()
            return response.status, response.headers, response.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise


def sign_in(url: str, email: str, password: str) -> str:
    """A token."""
    body = {"email": email, "password": password}
    status, _, answer = Api(url).ask("POST", "/api/auth/app/v1/auth/login", body)
    if status != 200:
        raise RuntimeError(f"Signing in gave {status}: {answer[:200]}")
    return json.loads(answer)["meta"]["access_token"]
