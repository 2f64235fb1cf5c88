from django.apps import AppConfig


class LeadManagementConfig(AppConfig):
    name = "lead_management"
    verbose_name = "Leads and deals"
