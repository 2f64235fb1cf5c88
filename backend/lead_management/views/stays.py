from django.http import Http404
from rest_framework.decorators import action

from lead_management import stays


class StaysMixin:
    """`stays/` for the view of what stays in a status or a stage."""

    @action(detail=True, filter_backends=(), pagination_class=None)
    def stays(self, request, pk):
        """How long it was in each place, the first one first."""
        self.refuse_parameters()
        self._require_place_shown()
        record = self.get_object()
        return self.conditional(stays.told(record, self.field_rights.hidden))

    def _require_place_shown(self):
        """To whom the status or stage is hidden, what is about it is not there."""
        if self.model.place in self.field_rights.hidden:
            raise Http404
