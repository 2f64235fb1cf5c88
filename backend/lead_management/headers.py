"""How other programs write leads and deals: the headers of columns, and choices."""

from contact_management.headers import CONTACT_HEADERS, with_unspaced_forms

# What a contact has and a lead has not, or calls by another name.
_OF_CONTACTS_ALONE = (
    *("salutation", "department", "contact_type", "linkedin"),
    *("company_domain", "company_external_id.", "source", "status"),
)

# Normalised header to field of Lead, preferred headers first.
LEAD_HEADERS: dict[str, str] = {
    **{
        header: "phone" if field == "mobile" else field
        for header, field in CONTACT_HEADERS.items()
        if not field.startswith(_OF_CONTACTS_ALONE)
    },
    **with_unspaced_forms(
        {
            "lead_source": ("lead source", "source", "original source"),
            "status": ("lead status", "status"),
            "status_reason": ("unqualified reason", "lost reason", "reason"),
            "is_converted": ("converted", "is converted"),
            "status_since": ("converted date", "date converted"),
            "priority": ("rating", "lead priority"),
            "estimated_value": (
                *("estimated value", "lead value", "expected value", "value"),
                *("annual revenue", "opportunity amount"),
            ),
            "last_contacted_at": ("last contacted", "last contact"),
            "next_follow_up_at": ("next follow up", "follow up date"),
            "owner": ("lead owner", "lead owner email"),
        }
    ),
}

# Normalised header to field of Deal, preferred headers first.
DEAL_HEADERS: dict[str, str] = with_unspaced_forms(
    {
        "name": (*("deal name", "opportunity name", "deal title", "title", "subject"),),
        "amount": ("deal value", "deal amount", "value"),
        "currency": ("currency code", "deal currency", "currency iso code"),
        "stage_name": ("deal stage", "stage name", "stage", "sales stage"),
        "pipeline_name": ("pipeline", "deal pipeline"),
        "outcome": ("deal status", "status"),
        "probability": ("deal probability", "probability"),
        "expected_close_on": (
            *("expected close date", "close date", "expected close", "closing date"),
        ),
        "closed_at": ("won time", "lost time", "deal closed on", "actual close date"),
        "reason": (
            *("lost reason", "deal lost reason", "closed lost reason"),
            *("closed won reason", "reason for loss"),
        ),
        "company_name": (
            *("company name", "company", "account name", "organization"),
            *("organization name", "associated company", "deal organization"),
        ),
        "company_domain": ("company domain", "company domain name", "account domain"),
        "company_external_id.hubspot": (
            *("associated company ids", "associated company ids primary"),
            "primary associated company id",
        ),
        "company_external_id.salesforce": ("account id",),
        "company_external_id.pipedrive": ("organization id", "deal organization id"),
        "notes": ("description", "deal description"),
        "tags": ("labels", "label", "deal label"),
        "owner": ("deal owner", "opportunity owner"),
    }
)


def _read_as(texts_by_value: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {text: value for value, texts in texts_by_value.items() for text in texts}


# By field, what Salesforce, HubSpot, Zoho and SuiteCRM call our choices, in lower case.
LEAD_CHOICES: dict[str, dict[str, str]] = {
    "status": _read_as(
        {
            "new": ("open - not contacted", "not contacted", "open", "assigned"),
            "contacted": (
                *("working - contacted", "working", "in progress", "in_progress"),
                *("in process", "attempted to contact", "attempted_to_contact"),
                *("connected", "contact in future", "nurturing"),
            ),
            "qualified": ("pre-qualified", "open deal", "open_deal"),
            "unqualified": (
                *("not qualified", "disqualified", "junk lead", "bad timing"),
                *("bad_timing", "recycled"),
            ),
            "converted": ("closed - converted",),
            "lost": ("closed - not converted", "lost lead", "dead"),
        }
    ),
    "priority": _read_as({"high": ("hot",), "medium": ("warm",), "low": ("cold",)}),
    "lead_source": _read_as(
        {
            "website": (
                *("web", "web site", "web download", "web research", "chat"),
                *("online store", "organic search", "direct traffic"),
            ),
            "referral": (
                *("reference", "employee referral", "external referral", "partner"),
                *("partner referral", "customer referral", "word of mouth"),
                *("referral sites", "referrals"),
            ),
            "social_media": (
                *("organic social", "paid social", "facebook", "linkedin"),
                *("x (twitter)", "twitter", "instagram"),
            ),
            "email_campaign": ("email", "e-mail", "email marketing", "campaign"),
            "trade_show": ("conference", "seminar", "seminar partner", "event"),
            "advertisement": ("paid search", "pay per click ads", "advertising"),
            "other": ("phone inquiry", "purchased list", "direct mail", "employee"),
        }
    ),
}

# The kinds of stages, as programs that have no such stages call what is over.
OUTCOMES: dict[str, str] = _read_as(
    {
        "open": ("open", "false"),
        "won": ("won", "closed won", "closedwon"),
        "lost": ("lost", "closed lost", "closedlost"),
    }
)
