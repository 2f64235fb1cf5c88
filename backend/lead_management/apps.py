from django.apps import AppConfig


class LeadManagementConfig(AppConfig):
    name = "lead_management"
    verbose_name = "Leads and deals"

    def ready(self):
        from lead_management import figures  # noqa: F401
