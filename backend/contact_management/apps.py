from django.apps import AppConfig


class ContactManagementConfig(AppConfig):
    name = "contact_management"
    verbose_name = "Contacts"
