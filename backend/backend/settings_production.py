"""Settings of an installation that others rely on: what differs from `settings`.

Chosen by DJANGO_SETTINGS_MODULE=backend.settings_production. Nothing important is
guessed: without its key, names, database and Redis it does not start, and says which
is missing. Each of these may stand in a file that its name with `_FILE` points to, as
Docker hands out secrets.
"""

import os
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

REQUIRED = ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "REDIS_URL", "BROKER_URL")
SECRET = (*REQUIRED, "ADMIN_PASSWORD", "EMAIL_URL", "EMAIL_PROVIDER_SETTINGS")


def read_environment() -> None:
    """Put what stands in .env and in files of secrets into the environment.

    Raises:
        ImproperlyConfigured: naming what is missing.
    """
    environ.Env.read_env(Path(__file__).resolve().parents[2] / ".env")
    for name in SECRET:
        file = os.environ.get(f"{name}_FILE")
        if file and not os.environ.get(name):
            try:
                os.environ[name] = Path(file).read_text().strip()
            except OSError as error:
                raise ImproperlyConfigured(f"{name}_FILE: {error}") from error
    missing = [name for name in REQUIRED if not os.environ.get(name)]
    if missing:
        raise ImproperlyConfigured(
            f"MyCRM in production needs {', '.join(missing)}: see .env.example."
        )
    if len(os.environ["SECRET_KEY"]) < 50:
        raise ImproperlyConfigured("SECRET_KEY needs 50 characters or more.")
    os.environ["USE_SQLITE"] = "false"
    os.environ.setdefault("CONN_MAX_AGE", "600")
    # Nginx replaces what a client claims of itself and adds one address.
    os.environ.setdefault("NUM_PROXIES", "1")


read_environment()

from backend.settings import *  # noqa: E402, F403
from backend.settings import DATABASES, MIDDLEWARE, env  # noqa: E402
from core import logs  # noqa: E402

DEBUG = False

# Database

# PgBouncer hands a connection to another client after each transaction: what a
# connection was told at its start would be lost, so the role holds the time-outs.
if env.bool("PGBOUNCER", False):
    DATABASES["default"]["OPTIONS"].pop("options")
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True

# Encryption. Without HTTPS only on a machine that nobody else reaches.

HTTPS = env.bool("HTTPS", True)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = HTTPS
# Asked by the machine itself, without Nginx.
SECURE_REDIRECT_EXEMPT = [r"^api/health/", r"^metrics"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
if HTTPS:
    # A browser takes these names only by HTTPS, for this host and for every path.
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"

# Static files: their names hold a hash, so Nginx lets them be kept for ever. It serves
# and compresses them; WhiteNoise would only look at each request once more.

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
        # Nginx is another user.
        "OPTIONS": {
            "file_permissions_mode": 0o644,
            "directory_permissions_mode": 0o755,
        },
    },
}
MIDDLEWARE.remove("whitenoise.middleware.WhiteNoiseMiddleware")
# Whose request it was stands in Nginx' log, beside its path and time.
MIDDLEWARE.insert(
    MIDDLEWARE.index("core.middleware.RequestIdMiddleware") + 1,
    "core.middleware.ActorMiddleware",
)

LOGGING = logs.configuration(env.str("LOG_LEVEL", "INFO"))
