"""Filters of contacts that their fields do not give."""

import django_filters as filters

from contact_management.models import ContactGroup, GroupMembership
from core.exceptions import bad_parameter


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
