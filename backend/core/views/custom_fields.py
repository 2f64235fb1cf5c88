"""The custom fields that an organization has defined."""

from rest_framework import status
from rest_framework.response import Response

from core import access
from core.custom_fields.indexing import keep_up
from core.models import CustomField
from core.registry import record_types
from core.views.journaled import JournaledViewSet


class CustomFieldViewSet(JournaledViewSet):
    """Everybody sees them, administrators define them. DELETE archives."""

    model = CustomField
    fields = (
        *("applies_to", "key", "label", "kind", "choices", "position"),
        *("is_required", "is_indexed", "is_archived", "index_status"),
    )
    search_fields = ("key", "label")
    default_ordering = "applies_to,position"

    def write(self, changes, record, values):
        super().write(changes, record, values)
        keep_up(record, self.request.user)

    def _made_from(self):
        """What is shown depends on the fields that the role hides, of every type."""
        types, key = super()._made_from()
        hidden = {
            name: sorted(access.hidden_fields(self.request.user, name))
            for name in record_types()
        }
        return types, f"{key}; without {hidden}"

    def destroy(self, request, pk):
        """Archive it: values stay, and no new ones are taken."""
        self.refuse_parameters("dry_run")
        field = self._locked(access.Verb.EDIT, self.get_queryset)
        with self.change_set() as changes:
            changes.save(field, is_archived=True)
        keep_up(field, request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)
