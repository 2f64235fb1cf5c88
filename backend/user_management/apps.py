from django.apps import AppConfig


class UserManagementConfig(AppConfig):
    name = "user_management"
    verbose_name = "People"

    def ready(self):
        from user_management import security  # noqa: F401
