"""What is done with contacts and tags and spans several records."""

from uuid import UUID

from django.utils import timezone

from contact_management.models import (
    Contact,
    ContactGroup,
    GroupMembership,
    Tag,
    tagged,
    tagged_types,
)
from core import access
from core.bulk.changes import Alteration, BulkChange, Tally
from core.exceptions import Conflict
from core.fields import tags_field_of
from core.jobs import JobHandler, handles, submit
from core.models import Changes, Job
from core.models.journal import snapshot
from core.serializers import VisibleRelatedField

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
