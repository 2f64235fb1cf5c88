"""What spans records: the companies that contacts name."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from contact_management.models import Company
from core import access, locks
from core.batches import batched
from core.models import Changes
from core.models.journal import validate

# As many alternatives as one query may have.
ALTERNATIVES = 200


@dataclass(frozen=True)
class CompanyReference:
    """What tells a company: its domain, or its ids in other systems as pairs.

    The `name` is what a new one is called.
    """

    name: str = ""
    domain: str = ""
    external_ids: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, name: str, domain: str, external_ids: dict) -> "CompanyReference":
        """Raises ValidationError where the domain is none."""
        if domain:
            try:
                domain = Company._meta.get_field("domain").clean(domain, None)
            except ValidationError as error:
                raise ValidationError({"company_domain": error.error_list}) from None
        return cls(name, domain, tuple(sorted(external_ids.items())))

    @property
    def tells(self) -> bool:
        return bool(self.domain or self.external_ids)

    def refused(self, detail: str, code: str) -> ValidationError:
        field = "company_external_id" if self.external_ids else "company_domain"
        return ValidationError({field: ValidationError(detail, code=code)})


Outcome = Company | ValidationError


def find_or_make_companies(
    changes: Changes, references: Iterable[CompanyReference]
) -> dict[CompanyReference, Outcome]:
    """The company of each reference that tells one, made where there is none.

    An external id counts more than a domain. However many references there are, the
    queries are few. A company that the actor may not see, or make, is an error in its
    place, which says nothing about it.
    """
    references = list(dict.fromkeys(r for r in references if r.tells))
    outcomes: dict[CompanyReference, Outcome] = {}
    for last in (False, True):
        missing = [r for r in references if r not in outcomes]
        outcomes.update(_found(changes, missing))
        missing = [r for r in missing if r not in outcomes]
        if any(r.external_ids for r in missing):
            organization = changes.change_set.organization_id
            locks.making_by_external_id(organization, Company.record_type())
            outcomes.update(_found(changes, missing))
            missing = [r for r in missing if r not in outcomes]
        try:
            with transaction.atomic():
                outcomes.update(_made(changes, missing))
            break
        except IntegrityError:
            # Somebody made one of them just now: it is found the second time.
            if last:
                raise
    return outcomes


def _found(
    changes: Changes, references: list[CompanyReference]
) -> dict[CompanyReference, Outcome]:
    companies = Company.objects.live().filter(
        organization=changes.change_set.organization_id
    )
    companies = companies.select_related("owner").order_by("pk")
    by_domain = {}
    domains = {r.domain for r in references} - {""}
    for some in batched(domains, ALTERNATIVES):
        by_domain.update((c.domain, c) for c in companies.filter(domain__in=some))
    by_id = defaultdict(dict)
    pairs = {pair for r in references for pair in r.external_ids}
    for some in batched(pairs, ALTERNATIVES):
        for company in companies.filter(external_ids__has=some):
            for pair in company.external_ids.items():
                by_id[pair][company.pk] = company
    found = {}
    for reference in references:
        known = {}
        for pair in reference.external_ids:
            known.update(by_id.get(pair, {}))
        if not known and reference.domain in by_domain:
            company = by_domain[reference.domain]
            known = {company.pk: company}
        if len(known) > 1:
            found[reference] = reference.refused(
                "Several companies have this.", "ambiguous"
            )
        for company in known.values() if len(known) == 1 else ():
            if changes.actor and not access.reaches(
                changes.actor, company, access.Verb.VIEW
            ):
                company = reference.refused("Another company has this.", "unique")
            found[reference] = company
    return found


def _made(
    changes: Changes, references: list[CompanyReference]
) -> dict[CompanyReference, Outcome]:
    if not references:
        return {}
    actor = changes.actor
    record_type, verb = Company.record_type(), access.Verb.CREATE
    if actor and access.scope_of(actor, record_type, verb) == access.Scope.NONE:
        detail = "There is no such company, and your role may not make one."
        return {r: r.refused(detail, "permission_denied") for r in references}
    by_key: dict = {}
    made: dict[CompanyReference, Outcome] = {}
    for reference in references:
        keys = [
            *reference.external_ids,
            *([reference.domain] if reference.domain else []),
        ]
        company = next((by_key[key] for key in keys if key in by_key), None)
        if company is None:
            company = Company(organization=changes.change_set.organization, owner=actor)
        company.name = company.name or reference.name
        company.domain = company.domain or reference.domain
        company.external_ids = {**dict(reference.external_ids), **company.external_ids}
        by_key.update(dict.fromkeys(keys, company))
        made[reference] = company
    errors = {}
    companies = list({id(company): company for company in made.values()}.values())
    for company in companies:
        company.name = company.name or company.domain
        try:
            validate(company)
        except ValidationError as error:
            errors[id(company)] = error
    changes.bulk_create(Company, [c for c in companies if id(c) not in errors])
    return {
        reference: reference.refused(" ".join(errors[id(company)].messages), "invalid")
        if id(company) in errors
        else company
        for reference, company in made.items()
    }
