import django_filters as filters
from django.core.exceptions import ValidationError
from django.db.models import Q

from contact_management.models import Affiliation, Company, Contact, Tag
from contact_management.serializers import ContactInput
from contact_management.services import CompanyReference, find_or_make_companies
from core.phones import e164
from core.views import RecordViewSet


class AnyEmailFilter(filters.CharFilter):
    """Contacts that have this address, the first or a further one."""

    def filter(self, queryset, value):
        if not value:
            return queryset
        value = value.strip().lower()
        return queryset.filter(Q(email=value) | Q(other_emails__has=value))


class AnyPhoneFilter(filters.CharFilter):
    """Records with this phone in any of their fields, however it is written."""

    def filter(self, queryset, value):
        if not value:
            return queryset
        number = e164(value, self.parent.request.user.organization.country)
        having = Q(other_phones__has=number or value)
        for name in queryset.model.phone_fields:
            column = f"{name}_e164" if number else name
            having |= Q((column, number or value))
        return queryset.filter(having)


ADDRESS = (
    *("address_line_1", "address_line_2", "city", "state", "postal_code", "country"),
)
PHONES = ("phone", "phone_e164", "phone_label", "other_phones")


class CompanyViewSet(RecordViewSet):
    model = Company
    fields = (
        *("name", "domain", "industry", "size", "parent", "website"),
        *PHONES,
        *ADDRESS,
        *("description", "tags", "external_ids"),
    )
    more_filters = {"any_phone": AnyPhoneFilter()}


class ContactViewSet(RecordViewSet):
    model = Contact
    fields = (
        *("salutation", "first_name", "last_name"),
        *("email", "email_label", "other_emails"),
        *PHONES,
        *("mobile", "mobile_e164"),
        *("company", "company_name", "job_title", "department"),
        *ADDRESS,
        *("contact_type", "source", "status", "website", "linkedin"),
        *("notes", "tags", "external_ids"),
    )
    more_filters = {"any_email": AnyEmailFilter(), "any_phone": AnyPhoneFilter()}
    serializer_base = ContactInput

    def write(self, changes, record, values):
        """The company that `company_domain` or `company_external_id` tells, too."""
        reference = CompanyReference.of(
            values.get("company_name") or record.company_name,
            values.pop("company_domain", ""),
            values.pop("company_external_id", {}),
        )
        if reference.tells:
            found = find_or_make_companies(changes, [reference])[reference]
            if isinstance(found, ValidationError):
                raise found
            values["company"] = found
        super().write(changes, record, values)


class AffiliationViewSet(RecordViewSet):
    model = Affiliation
    fields = ("contact", "company", "job_title")


class TagViewSet(RecordViewSet):
    model = Tag
    fields = ("name", "color")
