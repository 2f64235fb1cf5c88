"""Settings of the tests: nothing is kept, and passwords are cheap to check.

`manage.py test` takes them by itself.
"""

import atexit
import os
import shutil
import tempfile

# Before the settings are read: they make their folders at once.
os.environ["MYCRM_DATA"] = data = tempfile.mkdtemp(prefix="mycrm-test-")
atexit.register(shutil.rmtree, data, ignore_errors=True)

from .settings import *  # noqa: E402, F403
from .settings import DATA_DIR, DATABASES, LOGGING  # noqa: E402

# A file: SQLite in memory refuses threads that the one of an installation makes wait.
DATABASES["default"].setdefault("TEST", {}).setdefault(
    "NAME",
    DATA_DIR / "test.sqlite3" if "sqlite3" in DATABASES["default"]["ENGINE"] else None,
)

# A test is one transaction, in which much may go on besides the database.
if options := DATABASES["default"].get("OPTIONS", {}).get("options"):
    DATABASES["default"]["OPTIONS"]["options"] = (
        f"{options} -c idle_in_transaction_session_timeout=0"
    )
# Or each client of a test would first look through all static files.
WHITENOISE_AUTOREFRESH = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEST_RUNNER = "core.testing.Runner"
# Many tests are about what goes wrong, and say themselves what is to be logged.
LOGGING["handlers"]["console"]["level"] = "ERROR"
LOGGING["loggers"]["django.request"]["level"] = "CRITICAL"
