import os

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmark.stock.settings"
django.setup()
# allauth insists on its own when it is set up; a stock project has none.
settings.MIDDLEWARE.remove("allauth.account.middleware.AccountMiddleware")
application = WSGIHandler()
