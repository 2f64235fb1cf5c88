from django.apps import AppConfig


class LeadManagementConfig(AppConfig):
    name = "lead_management"
    verbose_name = "Leads and deals"

    def ready(self):
        from core.models.organization import timezone_changed
        from lead_management import figures  # noqa: F401

        timezone_changed.connect(keep_days_of_reports)


def keep_days_of_reports(sender, organization, before, **kwargs):
    from lead_management.reports import mailing

    mailing.keep_days(organization, before)
