"""Settings of the tests: nothing is kept, and passwords are cheap to check.

`manage.py test` takes them by itself.
"""

import os
import tempfile

# Before the settings are read: they make their folders at once. The folder goes with
# the process that made it.
data = tempfile.TemporaryDirectory(prefix="mycrm-test-")
os.environ["MYCRM_DATA"] = data.name

from .settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
# WhiteNoise warns of a folder that is not there.
STATIC_ROOT = data.name
