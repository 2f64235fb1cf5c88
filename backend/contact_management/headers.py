"""The column headers under which contacts are exported by other programs.

Known are Google Contacts (old and current), Outlook, Thunderbird, HubSpot, Pipedrive,
Salesforce (reports and Data Loader), Zoho and SuiteCRM, besides our own field names;
and those of `headers_abroad`.
"""

from contact_management.headers_abroad import HEADERS_ABROAD
from core.importing.mapping import ADDRESS_FIELDS

# Written as `normalise` of core.importing.mapping returns them. Within a field the
# preferred header comes first: business before home before other. Left out on purpose:
# HubSpot's "Lead Status" and "Lifecycle Stage", which do not describe a contact, and
# fax, pager and assistants' numbers.
_HEADERS_BY_FIELD: dict[str, tuple[str, ...]] = {
    "salutation": ("salutation", "name prefix", "prefix", "honorific"),
    "first_name": (
        "first name",
        "first",
        "given name",
        "forename",
        "person first name",
    ),
    "last_name": ("last name", "last", "family name", "surname", "person last name"),
    "email": (
        "email",
        "e mail",
        "email address",
        "e mail address",
        "mail",
        "primary email",
        "work email",
        "business email",
        "person email work",
        "person email",
        "home email",
        "personal email",
        "person email home",
        "secondary email",
        "alternate email",
        "other email",
        "person email other",
        "additional email addresses",
        "non primary e mails",
    ),
    "phone": (
        "phone",
        "phone number",
        "telephone",
        "business phone",
        "work phone",
        "office phone",
        "phone work",
        "person phone work",
        "person phone",
        "primary phone",
        "business phone 2",
        "company main phone",
        "home phone",
        "phone home",
        "person phone home",
        "home phone 2",
        "other phone",
        "phone other",
        "person phone other",
    ),
    "mobile": (
        "mobile",
        "mobile phone",
        "mobile number",
        "mobile phone number",
        "cell",
        "cell phone",
        "phone mobile",
        "person phone mobile",
    ),
    "company_name": (
        "company name",
        "company",
        "organization name",
        "organization",
        "organisation",
        "account name",
        "company account",
        "associated company",
        "person organization",
    ),
    "company_domain": (
        "company domain",
        "company domain name",
        "associated company domain",
        "account domain",
        "organization domain",
    ),
    "company_external_id.hubspot": (
        "associated company ids",
        "associated company id",
        "associated company ids primary",
        "primary associated company id",
    ),
    "company_external_id.salesforce": ("account id",),
    "company_external_id.pipedrive": ("organization id", "person organization id"),
    # "title" comes last; ColumnMap.suggest tells whether it really is the job.
    "job_title": (
        "job title",
        "organization title",
        "position",
        "person job title",
        "person title",
        "title",
    ),
    "department": ("department", "organization department"),
    "address_line_1": (
        "address line 1",
        "address 1",
        "address",
        "street address",
        "street",
        "business street",
        "work address",
        "mailing street",
        "mailing address line 1",
        "primary address street",
        "address street",
        "home street",
        "home address",
        "other street",
        "alternate address street",
        "alt address street",
    ),
    "address_line_2": (
        "address line 2",
        "address 2",
        "street address 2",
        "street 2",
        "business street 2",
        "work address 2",
        "mailing address line 2",
        "primary address street 2",
        "address extended address",
        "home street 2",
        "home address 2",
        "other street 2",
        "alternate address street 2",
        "alt address street 2",
    ),
    "city": (
        "city",
        "town",
        "business city",
        "work city",
        "mailing city",
        "primary address city",
        "address city",
        "person city",
        "home city",
        "other city",
        "alternate address city",
        "alt address city",
    ),
    "state": (
        "state",
        "state region",
        "state province",
        "province",
        "region",
        "business state",
        "work state",
        "mailing state",
        "mailing state province",
        "primary address state",
        "address region",
        "person state",
        "home state",
        "other state",
        "other state province",
        "alternate address state",
        "alt address state",
    ),
    "postal_code": (
        "postal code",
        "postcode",
        "zip",
        "zip code",
        "zip postal code",
        "business postal code",
        "work zipcode",
        "mailing postal code",
        "mailing zip postal code",
        "mailing zip",
        "primary address postal code",
        "primary address postalcode",
        "address postal code",
        "home postal code",
        "home zipcode",
        "other postal code",
        "other zip postal code",
        "other zip",
        "alternate address postal code",
        "alternate address postalcode",
        "alt address postal code",
        "alt address postalcode",
    ),
    "country": (
        "country",
        "country region",
        "business country",
        "business country region",
        "work country",
        "mailing country",
        "primary address country",
        "address country",
        "person country",
        "home country",
        "home country region",
        "other country",
        "other country region",
        "alternate address country",
        "alt address country",
    ),
    "contact_type": ("contact type",),
    "source": ("source", "lead source", "original source", "person source"),
    "status": ("status", "contact status"),
    "website": (
        "website",
        "website url",
        "web site",
        "web page",
        "business web page",
        "personal web page",
        "home page",
        "url",
        "person website",
    ),
    "linkedin": (
        "linkedin",
        "linkedin url",
        "linkedin profile",
        "linkedin profile url",
        "person linkedin",
    ),
    "notes": ("notes", "note", "description", "comments", "person notes"),
    "tags": (
        "tags",
        "tag",
        "labels",
        "group membership",
        "categories",
        "person labels",
        "person label",
    ),
    # An e-mail address of a user is expected; where a program writes the owner's name
    # instead, the rows will say so.
    "owner": ("owner", "owner email", "contact owner", "contact owner email"),
}


def with_unspaced_forms(
    headers_by_field: dict[str, tuple[str, ...]],
) -> dict[str, str]:
    """Turn the table round and add "mailingstreet" and "MAILINGSTREET" to its entries.

    Salesforce's Data Loader writes every header without spaces.
    """
    fields: dict[str, str] = {}
    for field, headers in headers_by_field.items():
        for header in headers:
            fields[header] = field
            fields.setdefault(header.replace(" ", ""), field)
    return fields


# Normalised header to field of Contact, preferred headers first.
_ENGLISH = with_unspaced_forms(_HEADERS_BY_FIELD)
CONTACT_HEADERS: dict[str, str] = {
    **_ENGLISH,
    **{name: HEADERS_ABROAD[name] for name in HEADERS_ABROAD if name not in _ENGLISH},
}

# What companies have of contacts, and how they call it.
_OF_CONTACTS = {
    **{"company_name": "name", "company_domain": "domain", "notes": "description"},
    **{name: name for name in ("phone", "website", "tags", "owner")},
    **{name: name for name in ADDRESS_FIELDS},
}
_OF_COMPANIES = with_unspaced_forms(
    {
        "name": ("company name", "company", "account name"),
        "domain": ("company domain name", "company domain"),
        "website": ("website url", "organization website"),
        "industry": ("organization industry", "branche"),
        "size": (
            *("number of employees", "employees", "no of employees"),
            *("organization number of employees", "mitarbeiter"),
        ),
        "phone": ("phone number", "company phone"),
        "address_line_1": ("street address", "billing street", "organization address"),
        "address_line_2": ("street address 2", "billing street 2"),
        "city": ("billing city",),
        "state": ("state region", "billing state", "billing state province"),
        "postal_code": (
            *("zip", "billing code", "billing postal code"),
            *("billing zip postal code", "billing zip"),
        ),
        "country": ("country region", "billing country"),
        "description": ("about us",),
        "tags": ("labels", "organization label", "organization labels"),
        "owner": ("company owner", "account owner", "organization owner"),
    }
)

# Normalised header to field of Company, preferred headers first.
COMPANY_HEADERS: dict[str, str] = {
    **_OF_COMPANIES,
    **{
        header: _OF_CONTACTS[field]
        for header, field in CONTACT_HEADERS.items()
        if field in _OF_CONTACTS and header not in _OF_COMPANIES
    },
}
