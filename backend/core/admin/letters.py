"""The e-mails that were sent, and those that wait."""

from django.contrib import admin
from django.utils import timezone

from core.access import Scope, Verb
from core.models import Letter

from .scoped import ReadOnlyAdmin


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request, model_admin):
        return [(name, name) for name in ("waiting", "sent", "given up", "ended")]

    def queryset(self, request, letters):
        unsent = letters.filter(sent_at=None, ended_at=None)
        waiting = Letter.objects.waiting().values("pk")
        match self.value():
            case "waiting":
                return unsent.filter(pk__in=waiting)
            case "sent":
                return letters.filter(sent_at__isnull=False)
            case "given up":
                return unsent.exclude(pk__in=waiting)
            case "ended":
                return letters.filter(sent_at=None, ended_at__isnull=False)
        return letters


@admin.register(Letter)
class LetterAdmin(ReadOnlyAdmin):
    """For whoever manages people: what was sent to them, what waits, and why."""

    list_display = (
        *("created_at", "kind", "email", "user", "state", "attempts"),
        *("due_at", "sent_at", "error"),
    )
    list_filter = (StateFilter, "kind", "sent_at")
    list_select_related = ("user",)
    search_fields = ("email",)
    fields = (
        *("kind", "email", "user", "state", "created_at", "due_at", "attempts"),
        *("error", "sent_at", "given_up_at", "expires_at", "ended_at"),
    )
    readonly_fields = ("state",)
    actions = ("send_now",)

    @admin.display(description="state")
    def state(self, letter):
        return letter.state

    def get_queryset(self, request):
        return Letter.objects.filter(organization=request.user.organization_id)

    def _may(self, request, action, obj=None):
        if action != "view" or request.user.scope("user", Verb.EDIT) != Scope.ALL:
            return False
        return obj is None or self.get_queryset(request).filter(pk=obj.pk).exists()

    @admin.action(description="Try again now", permissions=("view",))
    def send_now(self, request, queryset):
        count = queryset.filter(pk__in=Letter.objects.waiting().values("pk")).update(
            due_at=timezone.now()
        )
        self.message_user(request, f"{count} will be tried within seconds.")
