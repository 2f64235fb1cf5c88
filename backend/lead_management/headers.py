"""The column headers under which leads are exported by other programs."""

from contact_management.headers import CONTACT_HEADERS

# What a contact has and a lead has not, or calls by another name.
_OF_CONTACTS_ALONE = {
    *("salutation", "mobile", "department", "contact_type", "linkedin"),
    *("source", "status"),
}

# Normalised header to field of Lead, preferred headers first.
LEAD_HEADERS: dict[str, str] = {
    **{
        header: field
        for header, field in CONTACT_HEADERS.items()
        if field not in _OF_CONTACTS_ALONE
    },
    **dict.fromkeys(
        ("lead source", "leadsource", "source", "original source"), "lead_source"
    ),
    **dict.fromkeys(("lead status", "leadstatus", "status"), "status"),
    **dict.fromkeys(("rating", "lead priority"), "priority"),
    **dict.fromkeys(
        ("estimated value", "lead value", "expected value", "value"), "estimated_value"
    ),
    **dict.fromkeys(("last contacted", "last contact"), "last_contacted_at"),
    **dict.fromkeys(("next follow up", "follow up date"), "next_follow_up_at"),
    **dict.fromkeys(("lead owner", "lead owner email"), "owner"),
}

# Normalised header to field of Deal, preferred headers first.
DEAL_HEADERS: dict[str, str] = {
    **dict.fromkeys(
        ("deal name", "opportunity name", "deal title", "title", "subject"), "name"
    ),
    **dict.fromkeys(("deal value", "deal amount", "value"), "amount"),
    **dict.fromkeys(
        ("currency code", "deal currency", "currency iso code"), "currency"
    ),
    **dict.fromkeys(
        ("expected close date", "close date", "expected close"), "expected_close_on"
    ),
    **dict.fromkeys(("description", "deal description"), "notes"),
    **dict.fromkeys(("labels", "label"), "tags"),
    **dict.fromkeys(("deal owner", "opportunity owner"), "owner"),
}
