from core.views import JournaledViewSet
from lead_management.models import Pipeline
from lead_management.serializers import PipelineInput


class PipelineViewSet(JournaledViewSet):
    """The ways that deals go. Everybody sees them; managers change them."""

    model = Pipeline
    fields = ("name", "position", "is_active", "stages")
    serializer_base = PipelineInput
    default_ordering = "position"
    http_method_names = ("get", "head", "post", "put", "patch")

    def _defaults(self, serializer):
        """A PUT that leaves the stages out does not remove them."""
        defaults = super()._defaults(serializer)
        del defaults["stages"]
        return defaults
