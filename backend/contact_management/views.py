from django.core.exceptions import ValidationError as InvalidRecord
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.decorators import action
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.response import Response

from contact_management.filters import AnyEmailFilter, AnyPhoneFilter, GroupFilter
from contact_management.models import (
    ADDRESS,
    PHONES,
    Affiliation,
    Company,
    Contact,
    ContactGroup,
    GroupMembership,
    Tag,
    tagged_types,
)
from contact_management.serializers import (
    ContactInput,
    MemberCountSerializer,
    MembersChangedSerializer,
    MembersSerializer,
    TagUsesSerializer,
)
from contact_management.services import (
    AddToGroup,
    CompanyReference,
    RemoveFromGroup,
    find_or_make_companies,
)
from core import access
from core.fields import tags_field_of
from core.views import RecordViewSet
from core.views.base import boolean

MAX_COUNT = 100_000


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
    more_filters = {
        "any_email": AnyEmailFilter(),
        "any_phone": AnyPhoneFilter(),
        "group": GroupFilter(help_text="The members of a group."),
    }
    bulk_changes = {
        "add_to_group": AddToGroup,
        "remove_from_group": RemoveFromGroup,
    }
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
            if isinstance(found, InvalidRecord):
                raise found
            values["company"] = found
        super().write(changes, record, values)


class AffiliationViewSet(RecordViewSet):
    model = Affiliation
    fields = ("contact", "company", "job_title")


class ContactGroupViewSet(RecordViewSet):
    model = ContactGroup
    fields = ("name", "description", "kind", "filter")

    @extend_schema(responses=MemberCountSerializer)
    @action(detail=True, filter_backends=(), pagination_class=None)
    def count(self, request, pk):
        """How many members the user sees now, up to 100,000."""

        def build():
            self.refuse_parameters()
            contacts = Contact.objects.visible_to(request.user)
            members = self.get_object().members(contacts, request.user)
            found = members.order_by()[: MAX_COUNT + 1].count()
            count = {"count": min(found, MAX_COUNT), "capped": found > MAX_COUNT}
            return count, None

        types = (Contact, ContactGroup, GroupMembership)
        return self.cached(build, *made_from(request.user, types))


@extend_schema_view(list=extend_schema(operation_id="contact_groups_members_list"))
class MemberViewSet(ContactViewSet):
    """The members of a group: a list of contacts like any other."""

    def _group(self) -> ContactGroup:
        return self.get_object(ContactGroup.objects.visible_to(self.request.user))

    def list(self, request, pk):
        return super().list(request)

    def get_listed(self):
        return self._group().members(super().get_listed(), self.request.user)

    def _made_from(self):
        types, keys = super()._made_from()
        more, more_keys = made_from(self.request.user, (ContactGroup, GroupMembership))
        return types | more, f"{keys}; {more_keys}"

    @extend_schema(
        operation_id="contact_groups_members_change",
        request=MembersSerializer,
        responses=MembersChangedSerializer,
    )
    def change_members(self, request, pk):
        """Add contacts to a static group, and remove contacts from it."""
        self.refuse_parameters("dry_run")
        group = self._group()
        add, remove = (
            AddToGroup(group, request.user),
            RemoveFromGroup(group, request.user),
        )
        serializer = MembersSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        contacts = visible_contacts(request.user, serializer.validated_data)
        with self.change_set() as changes:
            added = add.take(changes, contacts["add"])
            removed = remove.take(changes, contacts["remove"])
        kept = changes.touched and not boolean(request, "dry_run")
        answer = {
            "added": added.changed,
            "removed": removed.changed,
            "unchanged": added.unchanged + removed.unchanged,
            "change_set": changes.change_set.pk if kept else None,
        }
        return Response(answer)


class TagViewSet(RecordViewSet):
    model = Tag
    fields = ("name", "color")

    @extend_schema(responses=TagUsesSerializer)
    @action(detail=True, filter_backends=(), pagination_class=None)
    def uses(self, request, pk):
        """How many of the records that the user sees carry this tag."""

        def build():
            self.refuse_parameters()
            name = self.get_object().name
            uses = {
                record_type: model.objects.visible_to(request.user)
                .filter(**{f"{tags_field_of(model)}__has": name})
                .count()
                for record_type, model in tagged_types().items()
            }
            return {"uses": uses}, None

        types = (Tag, *tagged_types().values())
        return self.cached(build, *made_from(request.user, types))


def visible_contacts(user, wish: dict[str, list]) -> dict[str, list[Contact]]:
    """The contacts that lists of ids mean; raises with the places of unknown ones."""
    found = Contact.objects.visible_to(user).in_bulk({*wish["add"], *wish["remove"]})
    errors = {
        name: {
            str(place): [ErrorDetail("There is no such contact.", "does_not_exist")]
            for place, pk in enumerate(ids)
            if pk not in found
        }
        for name, ids in wish.items()
    }
    if any(errors.values()):
        raise ValidationError({n: e for n, e in errors.items() if e})
    return {name: [found[pk] for pk in {*ids}] for name, ids in wish.items()}


def made_from(user, models) -> tuple[set[str], str]:
    """Types that an answer is made from, people among them, and for whom it is."""
    types = {model.record_type() for model in models}
    keys = [f"{t}: {access.visibility_key(user, t)}" for t in sorted(types)]
    return {*types, user.record_type(), "team"}, "; ".join([*keys, f"me: {user.pk}"])
