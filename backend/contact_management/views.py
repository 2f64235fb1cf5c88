from contact_management.models import Contact, Tag
from core.views import RecordViewSet


class ContactViewSet(RecordViewSet):
    model = Contact
    fields = (
        *("salutation", "first_name", "last_name", "email"),
        *("phone", "phone_e164", "mobile", "mobile_e164"),
        *("company_name", "job_title", "department"),
        *("address_line_1", "address_line_2", "city", "state", "postal_code"),
        *("country", "contact_type", "source", "status", "website", "linkedin"),
        *("notes", "tags", "external_ids"),
    )


class TagViewSet(RecordViewSet):
    model = Tag
    fields = ("name", "color")
