"""Answers as MyCRM computes them, without a cache: one for each path, as JSON.

python -m benchmark.uncached EMAIL HOST PATH ...
"""

import json
import sys

import django


def main(email: str, host: str, *paths: str) -> None:
    from django.contrib.auth import get_user_model
    from django.test import override_settings

    from core.testing import client_of

    client = client_of(get_user_model().objects.get_by_natural_key(email))
    with override_settings(REDIS_URL="", SECURE_SSL_REDIRECT=False):
        answers = [client.get(p, HTTP_HOST=host).content.decode() for p in paths]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    django.setup()
    main(*sys.argv[1:])
