"""What spans records: the companies that contacts name, groups, and names of tags."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from contact_management.models import (
    Company,
    Contact,
    ContactGroup,
    GroupMembership,
    Tag,
    tagged,
    tagged_types,
)
from core import access, locks
from core.batches import batched
from core.bulk.changes import Alteration, BulkChange, Tally
from core.exceptions import Conflict
from core.fields import tags_field_of
from core.jobs import JobHandler, handles, submit
from core.models import Changes, Job
from core.models.values import snapshot, validate
from core.serializers import VisibleRelatedField

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
            with changes.attempt():
                outcomes.update(_made(changes, missing))
            break
        except IntegrityError:
            # Somebody made one of them just now: it is found the second time.
            if last:
                raise
    return outcomes


def set_companies(changes: Changes, drafts: list) -> None:
    """Give drafts of imported records the company that their rows tell.

    A row that tells a company which is not to be had has a fault. But other systems
    give the ids of companies without their names: where such a company is not here, the
    contact is taken without it, and that is counted.
    """
    references = {}
    for place, draft in enumerate(drafts):
        domain, ids = "", {}
        for target, text in draft.extras.items():
            kind, _, source = target.partition(".")
            if source:
                # HubSpot writes all that a contact is of, the first one first.
                ids[source] = text.partition(";")[0].strip()
            elif kind == "company_domain":
                domain = text
        try:
            name = draft.record.company_name
            references[place] = CompanyReference.of(name, domain, ids)
        except ValidationError as error:
            draft.fault = error
    found = find_or_make_companies(changes, references.values())
    for place, reference in references.items():
        draft, company = drafts[place], found.get(reference)
        if isinstance(company, ValidationError) and _is_missing(company):
            draft.not_found.add(next(iter(draft.extra_columns.values())))
        elif isinstance(company, ValidationError):
            draft.fault = company
        elif company:
            draft.record.company = company
            draft.given["company_id"] = next(
                column
                for kind, column in draft.extra_columns.items()
                if kind.startswith("company_")
            )


def _is_missing(error: ValidationError) -> bool:
    errors = [one for some in error.error_dict.values() for one in some]
    return any(one.code == "does_not_exist" for one in errors)


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
        if not (reference.name or reference.domain):
            detail = "There is no such company, and no name or domain to make one by."
            made[reference] = reference.refused(detail, "does_not_exist")
            continue
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
    companies = [c for c in made.values() if isinstance(c, Company)]
    companies = list({id(company): company for company in companies}.values())
    for company in companies:
        company.name = company.name or company.domain
        if not company.name:
            detail = "There is no such company, and no name to make one."
            errors[id(company)] = (detail, "does_not_exist")
            continue
        try:
            validate(company)
        except ValidationError as error:
            errors[id(company)] = (" ".join(error.messages), "invalid")
    changes.bulk_create(Company, [c for c in companies if id(c) not in errors])
    return {
        reference: reference.refused(*errors[id(company)])
        if id(company) in errors
        else company
        for reference, company in made.items()
    }


# Members of groups


class MembershipChange(BulkChange):
    """Adds contacts to a static group, or removes them.

    It takes the right to edit the group, and to see the contact.

    Raises:
        PermissionDenied: the user may not edit the group.
        Conflict: the group is dynamic.
    """

    def __init__(self, group: ContactGroup, user):
        self.group = group
        access.require(user, group, access.Verb.EDIT)
        if group.is_dynamic:
            raise Conflict(
                "The filter of a dynamic group finds its members.", "dynamic"
            )

    @staticmethod
    def field():
        return VisibleRelatedField(
            queryset=ContactGroup.objects.all(),
            required=False,
            help_text="The id of a static group.",
        )

    def memberships(self, contacts: list[Contact]) -> list[GroupMembership]:
        """Those of the contacts that are members, locked.

        The lock on the group keeps two requests from adding the same contact.
        """
        ContactGroup.objects.select_for_update().get(pk=self.group.pk)
        found = GroupMembership.objects.live().filter(
            group=self.group, contact__in=[contact.pk for contact in contacts]
        )
        return list(found.order_by("pk").select_for_update(of=("self",)))


class AddToGroup(MembershipChange):
    def take(self, changes, contacts):
        members = {m.contact_id for m in self.memberships(contacts)}
        new = [contact for contact in contacts if contact.pk not in members]
        changes.bulk_create(
            GroupMembership,
            [
                GroupMembership(group=self.group, contact=contact, owner=changes.actor)
                for contact in new
            ],
        )
        return Tally(changed=len(new), unchanged=len(contacts) - len(new))


class RemoveFromGroup(MembershipChange):
    def take(self, changes, contacts):
        updates = []
        for membership in self.memberships(contacts):
            before = snapshot(membership)
            membership.deleted_at = timezone.now()
            updates.append((membership, before))
        changes.bulk_update(GroupMembership, updates)
        return Tally(changed=len(updates), unchanged=len(contacts) - len(updates))


# A new name for a tag

RENAME = "rename_tag"
CHUNK_RECORDS = 1000


def rename_on_records(tag: Tag, old: str, changes: Changes) -> None:
    """Give a tag's new name to the records that carry the old one.

    In the same change set, as a job of whoever renames it; at once where that is the
    system.
    """
    if changes.actor is None:
        for model in tagged_types().values():
            records = list(tagged(model, tag.organization_id, old))
            NewName(old, tag.name).take(changes, records)
        return
    submit(
        Job(
            organization_id=tag.organization_id,
            owner=changes.actor,
            kind=RENAME,
            params={"tag": str(tag.pk), "old": old},
            counts={"changed": 0, "refused": 0, "failed": 0},
            change_set=changes.change_set,
        )
    )


class NewName(Alteration):
    """Gives a tag another name; where a record has both, one of them is left."""

    verb = access.Verb.EDIT

    def __init__(self, old: str, new: str):
        self.old = old
        self.new = new

    def alter(self, changes, record, before):
        name = tags_field_of(type(record))
        tags = [self.new if tag == self.old else tag for tag in getattr(record, name)]
        setattr(record, name, tags)
        changes.validate(record, exclude=before.keys() - {name})
        changes.require_change(record, {name}, before)
        return True


@handles(RENAME)
class RenameHandler(JobHandler):
    """One record type after the other, in the order of the ids.

    Records get the name that the tag has by then: of two renamings soon after each
    other, the later holds, whichever job is first.
    """

    def step(self, job):
        types = sorted(tagged_types())
        old = job.params["old"]
        if job.total is None:
            job.total = sum(
                tagged(tagged_types()[name], job.organization_id, old).count()
                for name in types
            )
            job.state = {"type": 0, "after": None}
        model = tagged_types()[types[job.state["type"]]]
        found = tagged(model, job.organization_id, old)
        if job.state["after"]:
            found = found.filter(pk__gt=UUID(job.state["after"]))
        found = found.order_by("pk").select_related(found.owner_path)
        records = list(found.select_for_update(of=("self",))[:CHUNK_RECORDS])
        tag = Tag._base_manager.get(pk=job.params["tag"])
        if records and tag.name != old:
            self._rename(job, records, NewName(old, tag.name))
        job.done = min(job.done + len(records), job.total)
        if len(records) == CHUNK_RECORDS:
            job.state["after"] = str(records[-1].pk)
            return False
        job.state = {"type": job.state["type"] + 1, "after": None}
        return job.state["type"] == len(types)

    @staticmethod
    def _rename(job: Job, records: list, change: NewName) -> None:
        for record in records:
            record.organization = job.owner.organization
        with job.change_set.writing() as changes:
            tally = change.take(changes, records)
        job.counts["changed"] += tally.changed
        job.counts["refused"] += tally.refused.total()
        job.counts["failed"] += tally.failed
