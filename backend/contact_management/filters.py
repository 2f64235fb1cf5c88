"""Filters of contacts that their fields do not give."""

import django_filters as filters
from django.db.models import Q

from contact_management.models import ContactGroup, GroupMembership
from core.exceptions import bad_parameter
from core.phones import e164


class GroupFilter(filters.UUIDFilter):
    """The members of a group, static or dynamic."""

    record_types = (ContactGroup.record_type(), GroupMembership.record_type())

    def filter(self, queryset, value):
        if value is None:
            return queryset
        user = self.parent.request.user
        group = ContactGroup.objects.visible_to(user).filter(pk=value).first()
        if group is None:
            raise bad_parameter("group", "There is no such group.", "does_not_exist")
        return group.members(queryset, user)


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
