from contact_management.views import ADDRESS, PHONES, AnyPhoneFilter
from core.views import RecordViewSet
from lead_management.models import Lead


class LeadViewSet(RecordViewSet):
    model = Lead
    fields = (
        *("first_name", "last_name", "email"),
        *PHONES,
        *("company_name", "job_title", "website"),
        *ADDRESS,
        *("lead_source", "status", "status_since", "status_reason", "priority"),
        *("lead_score", "estimated_value", "currency", "probability"),
        *("last_contacted_at", "next_follow_up_at"),
        *("notes", "tags", "external_ids"),
    )
    more_filters = {"any_phone": AnyPhoneFilter()}
