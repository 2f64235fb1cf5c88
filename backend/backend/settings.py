"""Settings of MyCRM, read from the environment and from `.env` beside the README.

Without any setting this is the embedded default: SQLite, no cache server, Celery on
a file-system broker. `.env.example` lists every setting with its default.
"""

import contextlib
import os
import secrets
import time
from datetime import timedelta
from pathlib import Path

import environ
from csp.constants import NONE, SELF, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from kombu import Queue

BACKEND_DIR = Path(__file__).resolve().parent.parent
PROJECT_DIR = BACKEND_DIR.parent

env = environ.Env()
env.read_env(PROJECT_DIR / ".env")


def several(name, default):
    """What a setting names with commas, and perhaps with spaces after them."""
    return [value.strip() for value in env.list(name, default=default)]


# Where SQLite, uploads, the file-system broker and the secret key live.
DATA_DIR = PROJECT_DIR / env.str("MYCRM_DATA", "var")
DATA_DIR.mkdir(parents=True, exist_ok=True)

DEBUG = env.bool("DEBUG", False)


def installation_secret():
    """The secret key of this installation, made once and kept in DATA_DIR."""
    path = DATA_DIR / "secret_key"
    if not path.exists():
        draft = DATA_DIR / f"secret_key.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
        # A link is made whole or not at all: of two that start together one wins.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text()


SECRET_KEY = env.str("SECRET_KEY", "") or installation_secret()

ALLOWED_HOSTS = several("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CORS_ALLOWED_ORIGINS = several("CORS_ALLOWED_ORIGINS", [])
CORS_URLS_REGEX = r"^/api/"
# Pages of other origins sign in by tokens. A session is for our own: they could neither
# read the CSRF cookie nor, where they stand on another site, have any cookie sent.
CORS_ALLOW_HEADERS = [
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "x-change-reason",
    "x-email-verification-key",
    "x-password-reset-key",
    "x-request-id",
    "x-session-token",
]
CORS_EXPOSE_HEADERS = [
    "Dry-Run",
    "ETag",
    "Idempotency-Replayed",
    "Location",
    "Retry-After",
    "X-Request-ID",
]

# Applications

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    # Before core, which has a page of its own for it.
    "django_celery_beat",
    # Before allauth, whose pages it dresses.
    "user_management",
    "allauth",
    "allauth.account",
    "allauth.headless",
    "allauth.mfa",
    "user_management.apps.SessionsConfig",  # allauth.usersessions
    "django.contrib.humanize",
    "corsheaders",
    "csp",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
    "knox",
    "core",
    "contact_management",
    "lead_management",
]

MIDDLEWARE = [
    "core.connections.TrustMiddleware",
    "core.metrics.middleware.MetricsMiddleware",
    "core.middleware.RequestIdMiddleware",
    "core.middleware.BusyMiddleware",
    # What it gives again goes no further, and has the headers of all that follow.
    "core.recall.RecallMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "core.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "core.middleware.FormMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "core.middleware.PolicyMiddleware",
    "core.middleware.SignInBodyMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "backend.urls"
WSGI_APPLICATION = "backend.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Database

if env.bool("USE_SQLITE", "DATABASE_URL" not in env):
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATA_DIR / "mycrm.sqlite3",
            "OPTIONS": {
                # A transaction takes the write lock at its start, so that none fails
                # half-way because another wrote first; the busy time-out is in seconds.
                "transaction_mode": "IMMEDIATE",
                "timeout": 10,
                "init_command": (
                    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                    " PRAGMA cache_size=-32000;"
                ),
            },
        }
    }
else:
    DATABASES = {"default": env.db("DATABASE_URL")}
    DATABASES["default"].update(
        CONN_MAX_AGE=env.int("CONN_MAX_AGE", 60),
        CONN_HEALTH_CHECKS=True,
        OPTIONS={
            "options": (
                f"-c statement_timeout={env.int('STATEMENT_SECONDS', 10)}s"
                " -c lock_timeout=2000"
                " -c idle_in_transaction_session_timeout=30000"
                # For statements that are planned once (core.statements).
                " -c plan_cache_mode=force_generic_plan"
            ),
        },
    )

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Cache: versions and bytes of answers live in Redis; without it nothing is shared
# between processes, so nothing is cached (core.cache).

REDIS_URL = env.str("REDIS_URL", "")
if REDIS_URL:
    CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": REDIS_URL,
            "KEY_PREFIX": "mycrm",
            "OPTIONS": {
                # With what else waits for it, a slow Redis may cost half a second.
                "SOCKET_CONNECT_TIMEOUT": 0.25,
                "SOCKET_TIMEOUT": 0.25,
                "CONNECTION_POOL_CLASS": "core.redis.ConnectionPool",
                # A cache that is away is a miss, not an error.
                "IGNORE_EXCEPTIONS": True,
            },
        }
    }
    SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"

# Celery

if REDIS_URL:
    CELERY_BROKER_URL = env.str("BROKER_URL", REDIS_URL)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "socket_timeout": 5,
        "socket_connect_timeout": 0.5,
        # What a worker that died had not finished comes back: after longer than a task
        # should take, and then within seconds, not after ten of kombu's rounds.
        "visibility_timeout": 150,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
    }
else:
    BROKER_DIR = DATA_DIR / "broker"
    CELERY_BROKER_URL = "filesystem://"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": BROKER_DIR / "messages",
        "data_folder_out": BROKER_DIR / "messages",
        "control_folder": BROKER_DIR / "control",
    }
    for folder in CELERY_BROKER_TRANSPORT_OPTIONS.values():
        folder.mkdir(parents=True, exist_ok=True)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None
# Each task may come twice: one that was begun and not ended is better begun again.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# Of pools of processes, in containers: nothing ends a thread. Tasks do not rely on it;
# statements, mail servers and the slices of jobs end sooner by themselves.
CELERY_TASK_TIME_LIMIT = 120
# What somebody waits for is not kept behind long work, nor that behind what is done by
# the clock. A worker that is given no queues takes all.
CELERY_TASK_QUEUES = [Queue(name) for name in ("interactive", "bulk", "scheduled")]
CELERY_TASK_DEFAULT_QUEUE = "scheduled"
CELERY_TASK_ROUTES = {
    "core.tasks.run_job": {"queue": "bulk"},
    "lead_management.tasks.rescore_leads": {"queue": "bulk"},
    "core.tasks.send_*": {"queue": "interactive"},
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = bool(REDIS_URL)
CELERY_TIMEZONE = "UTC"
# Beat keeps in the database when each of these ran last, and makes that table say what
# stands here whenever it starts. Two Beats by mistake do nothing twice: each task does
# what it finds to do.
CELERY_BEAT_SCHEDULER = "core.schedule:Scheduler"
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "core.tasks.sweep",
        "schedule": timedelta(seconds=5),
        # A sweep that waited longer than this is of no more use than the next one.
        "options": {"expire_seconds": 30},
    },
    "merge_indexes": {
        "task": "core.tasks.merge_indexes",
        "schedule": timedelta(seconds=10),
        "options": {"expire_seconds": 10},
    },
    "count_figures": {
        "task": "core.tasks.count_figures",
        "schedule": timedelta(minutes=5),
        "options": {"expire_seconds": 300},
    },
    "erase_old_logs": {
        "task": "core.tasks.erase_old_logs",
        "schedule": timedelta(hours=1),
    },
    "send_letters": {
        "task": "core.tasks.send_letters",
        "schedule": timedelta(seconds=10),
        "options": {"expire_seconds": 30},
    },
    "mail_notifications": {
        "task": "core.tasks.mail_notifications",
        "schedule": timedelta(seconds=30),
        "options": {"expire_seconds": 30},
    },
    "purge_deleted": {
        "task": "core.tasks.purge_deleted",
        "schedule": timedelta(hours=1),
    },
    "remind_of_dates": {
        "task": "lead_management.tasks.remind_of_dates",
        "schedule": timedelta(minutes=1),
        "options": {"expire_seconds": 60},
    },
    "remind_of_silence": {
        "task": "lead_management.tasks.remind_of_silence",
        "schedule": timedelta(hours=1),
    },
    "send_reports": {
        "task": "lead_management.tasks.send_reports",
        "schedule": timedelta(minutes=1),
        "options": {"expire_seconds": 60},
    },
    "rescore_due": {
        "task": "lead_management.tasks.rescore_due",
        "schedule": timedelta(seconds=10),
        "options": {"expire_seconds": 30},
    },
    "tidy_scores": {
        "task": "lead_management.tasks.tidy_scores",
        "schedule": timedelta(minutes=10),
    },
    "forget_attempts": {
        "task": "user_management.tasks.forget_attempts",
        "schedule": timedelta(hours=1),
    },
    "end_sessions": {
        "task": "user_management.tasks.end_sessions",
        "schedule": timedelta(hours=6),
    },
}

# People

AUTH_USER_MODEL = "user_management.User"
AUTHENTICATION_BACKENDS = ["user_management.auth.Backend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# Proxies in front of the server that each add an address to X-Forwarded-For. Without
# any, the header is the client's own invention and is not read.
NUM_PROXIES = env.int("NUM_PROXIES", 0)
ALLAUTH_TRUSTED_PROXY_COUNT = NUM_PROXIES
# user_management.limits counts, atomically; allauth would count in a cache.
ACCOUNT_RATE_LIMITS = False
MFA_RATE_LIMITS = False
ACCOUNT_ADAPTER = "user_management.auth.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = True
# A change of the e-mail address wants the password, or a code, once more.
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "user_management.auth.ResetTokenGenerator"  # noqa: S105
PASSWORD_RESET_TIMEOUT = 3600
# How long after signing in a sensitive step may be taken without doing so again.
ACCOUNT_REAUTHENTICATION_TIMEOUT = env.int("REAUTHENTICATION_SECONDS", 300)
# Where the links in e-mails lead: a frontend's address, or "" for this server's pages.
FRONTEND_URL = env.str("FRONTEND_URL", "").rstrip("/")
HEADLESS_FRONTEND_URLS = {
    name: f"{FRONTEND_URL}/account/{path}/{{key}}/"
    for name, path in (
        ("account_reset_password_from_key", "password/reset/key"),
        ("invitation", "invitation"),
        ("email_change", "email/confirm"),
    )
}
# How long the links of invitations and of changes of e-mail work.
LINK_HOURS = env.int("LINK_HOURS", 72)
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True

MFA_FORMS = {
    "authenticate": "user_management.forms.CodeForm",
    "reauthenticate": "user_management.forms.CodeAgainForm",
}
ACCOUNT_FORMS = {
    "change_password": "user_management.forms.PasswordChangeForm",
    "reset_password": "user_management.forms.PasswordResetForm",
}
MFA_TOTP_ISSUER = "MyCRM"
HEADLESS_TOKEN_STRATEGY = "allauth.headless.tokens.strategies.jwt.JWTTokenStrategy"  # noqa: S105
HEADLESS_JWT_ALGORITHM = "HS256"
# The session behind a token must be there at each request: signing out ends it at once
# (user_management.remembered).
HEADLESS_JWT_STATEFUL_VALIDATION_ENABLED = True
HEADLESS_JWT_ACCESS_TOKEN_EXPIRES_IN = 15 * 60
HEADLESS_JWT_REFRESH_TOKEN_EXPIRES_IN = 14 * 24 * 3600
# Sign-in documents itself at /api/auth/openapi.json; /api/docs/sign-in/ shows it.
HEADLESS_SERVE_SPECIFICATION = True
HEADLESS_SPECIFICATION_TEMPLATE_NAME = None
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "account"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"

# Those of django-anymail that need no further package.
EMAIL_PROVIDERS = (
    *("brevo", "mailersend", "mailgun", "mailjet", "mailtrap", "mandrill", "postmark"),
    *("resend", "scaleway", "sendgrid", "sparkpost", "unisender_go"),
)


def email_provider(name: str) -> dict:
    """The settings for e-mail by the API of a provider."""
    if name not in EMAIL_PROVIDERS:
        known = ", ".join(EMAIL_PROVIDERS)
        raise ImproperlyConfigured(f"EMAIL_PROVIDER is none of {known}.")
    try:
        values = env.dict("EMAIL_PROVIDER_SETTINGS", default={})
    except ValueError:
        # Not the value itself: it holds keys.
        raise ImproperlyConfigured(
            "EMAIL_PROVIDER_SETTINGS is no list of names and values, such as"
            " API_KEY=secret,SENDER_DOMAIN=example.com."
        ) from None
    return {
        "EMAIL_BACKEND": f"anymail.backends.{name}.EmailBackend",
        "ANYMAIL": {
            **{
                f"{name.upper()}_{key.strip()}": value.strip()
                for key, value in values.items()
            },
            "REQUESTS_TIMEOUT": 10,
        },
    }


def email_server() -> dict:
    """The settings for e-mail by the server that EMAIL_URL says."""
    try:
        found = env.email_url("EMAIL_URL")
    except (ImproperlyConfigured, ValueError):
        found = {}
    by_smtp = found.get("EMAIL_BACKEND") == env.EMAIL_SCHEMES["smtp"]
    if not found or (by_smtp and not found["EMAIL_HOST"]):
        # Not the value itself: it holds a password.
        raise ImproperlyConfigured(
            "EMAIL_URL is no mail server, such as"
            " smtp+tls://user:password@mail.example.com:587. In a password #, / and ?"
            " are written %23, %2F and %3F."
        )
    return found


EMAIL_PROVIDER = env.str("EMAIL_PROVIDER", "")
if EMAIL_PROVIDER:
    vars().update(email_provider(EMAIL_PROVIDER))
elif env.str("EMAIL_URL", ""):
    vars().update(email_server())
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = DATA_DIR / "mail"
EMAIL_TIMEOUT = 10
# For how long an e-mail that the mail server does not take is tried again.
EMAIL_RETRY_HOURS = env.int("EMAIL_RETRY_HOURS", 72)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "MyCRM <mycrm@localhost>")

# API keys. The length of what a key begins with follows from knox: 15 characters.
KNOX_TOKEN_MODEL = "user_management.ApiKey"  # noqa: S105
# Its own would make the table of a token model that this one replaces.
MIGRATION_MODULES = {"knox": None}
REST_KNOX = {"TOKEN_PREFIX": "mycrm_"}

# The API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "user_management.auth.BearerKeyAuthentication",
        "user_management.auth.KeyAuthentication",
        "user_management.auth.TokenAuthentication",
        "user_management.auth.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["core.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["core.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "core.renderers.JSONOnly",
    "DEFAULT_SCHEMA_CLASS": "core.schema.Schema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "core.problems.handle",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "MyCRM",
    "DESCRIPTION": (
        "The REST API of MyCRM. Lists are paged, filtered and ordered by query"
        " parameters; an unknown parameter or field is a 400 that names it. Errors are"
        " `application/problem+json` (RFC 9457). How to sign in stands under"
        " [/api/docs/sign-in/](/api/docs/sign-in/). Programs send an API key as"
        " `Authorization: Bearer <key>` or `Api-Key <key>`."
    ),
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    # Nobody is looked for: whoever has yet to set up 2FA reads there how.
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {
        "deepLinking": True,
        "persistAuthorization": True,
        # All operations at once are more than a browser shows in seconds.
        "docExpansion": "none",
    },
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/",
    "ENUM_NAME_OVERRIDES": {
        "ContactStatus": "contact_management.models.Contact.Status",
        "HealthStatus": ["ok", "unavailable"],
        "JobStatus": "core.models.Job.Status",
        "LeadStatus": "lead_management.models.Lead.Status",
        "StageKind": "lead_management.models.Kind",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "core.schema.add_problem_answers",
    ],
}

# Watching: who may read /metrics without being a proxy, by the network that they ask
# from, and from anywhere with "Authorization: Bearer" and the token, if there is one.
METRICS_NETWORKS = several("METRICS_NETWORKS", ["127.0.0.0/8", "::1/128"])
METRICS_TOKEN = env.str("METRICS_TOKEN", "")
# The port of a Celery worker's own /metrics, where it is the only one that can tell.
METRICS_PORT = env.int("METRICS_PORT", 0)
# When the server that this process belongs to started, in seconds since the epoch.
STARTED_AT = float(os.environ.get("MYCRM_STARTED_AT", time.time()))

# Uploads: a request's body, and the file of an import, in bytes.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024
IMPORT_MAX_BYTES = env.int("IMPORT_MAX_BYTES", 200 * 1024 * 1024)
# How long an exported file can be fetched.
EXPORT_KEPT_HOURS = env.int("EXPORT_KEPT_HOURS", 24)
AVATAR_MAX_BYTES = 5 * 1024 * 1024
MEDIA_ROOT = DATA_DIR / "uploads"

# Pages

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = True
# Where a page may load from; the admin's pages may more (core.middleware).
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
UNFOLD = {
    "SITE_TITLE": "MyCRM",
    "SITE_HEADER": "MyCRM",
    "SITE_SYMBOL": "contacts",
    "DASHBOARD_CALLBACK": "lead_management.admin.dashboard.front_page",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("core/icon.svg"),
        }
    ],
}

TIME_ZONE = "UTC"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
    # What a client did wrong is told to the client; what we did wrong is logged.
    "loggers": {"django.request": {"level": "ERROR"}},
}
