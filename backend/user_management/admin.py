from allauth.account.decorators import secure_admin_login
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.shortcuts import redirect
from django.utils import timezone
from rest_framework.exceptions import APIException
from unfold.forms import AdminPasswordChangeForm, UserCreationForm

from core.access import Scope, Verb
from core.admin import JournaledAdmin, JournaledForm, ReadOnlyAdmin
from user_management import services
from user_management.auth import lacks_two_factor
from user_management.models import ApiKey, Role, Team, User
from user_management.views import invitation_link

admin.site.unregister(Group)


own_sign_in = admin.site.login


def may_enter(request):
    user = request.user
    return user.is_active and user.is_staff and not lacks_two_factor(user)


def sign_in(request, **kwargs):
    """The page of the sign-in, with its limits and 2FA; then the way to set that up."""
    if request.user.is_authenticated and lacks_two_factor(request.user):
        messages.info(request, "Your role requires two-factor authentication.")
        return redirect("mfa_index")
    return secure_admin_login(own_sign_in)(request, **kwargs)


admin.site.has_permission = may_enter
admin.site.login = sign_in


class NewUserForm(UserCreationForm):
    """Invites, unless a password is typed."""

    shown_version = JournaledForm.base_fields["shown_version"]
    usable_password = forms.ChoiceField(
        label="How they will sign in",
        choices={
            "false": "An e-mail invites them to choose a password",
            "true": "With the password typed here",
        },
        initial="false",
        widget=forms.RadioSelect,
    )

    class Media:
        # Hides the fields of a password that is not wanted.
        css = {"all": ("admin/css/unusable_password_field.css",)}

    class Meta:
        model = User
        fields = (
            *("email", "first_name", "last_name"),
            *("role", "team", "manager", "is_staff"),
        )


@admin.register(User)
class UserAdmin(JournaledAdmin, DjangoUserAdmin):
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = (
        *("email", "first_name", "last_name", "role", "team"),
        *("is_active", "is_invited"),
    )
    list_filter = ("is_active", "is_invited", "is_staff")
    list_select_related = ("role", "team")
    search_fields = ("email", "first_name", "last_name")
    ordering = ("email",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "is_invited", "phone_e164")
    actions = ("invite_selected", "withdraw_selected")
    fieldsets = (
        (None, {"fields": (("email",), ("first_name", "last_name"))}),
        (
            "Rights",
            {"fields": (("role", "team"), "manager", ("is_active", "is_staff"))},
        ),
        (
            "Profile",
            {"fields": (("phone", "phone_e164"), ("department", "job_title"), "bio")},
        ),
        (
            "Preferences",
            {"fields": (("timezone", "language"), "notifications", "dashboard")},
        ),
        ("Sign-in", {"fields": (("last_login", "is_invited"),)}),
    )
    add_fieldsets = (
        (None, {"fields": ("email", ("first_name", "last_name"))}),
        ("Rights", {"fields": (("role", "team"), ("manager", "is_staff"))}),
        ("Password", {"fields": ("usable_password", "password1", "password2")}),
    )

    def user_change_password(self, request, id, form_url=""):
        """Whoever sets somebody's password can become them."""
        user = self.get_object(request, unquote(id))
        if user and not user.role.is_within(request.user.role):
            raise PermissionDenied
        return super().user_change_password(request, id, form_url)

    def get_readonly_fields(self, request, obj=None):
        fields = super().get_readonly_fields(request, obj)
        if request.user.scope("user", Verb.EDIT) == Scope.ALL:
            return fields
        return (*fields, *User.granted_fields)

    def save_model(self, request, obj, form, change):
        if change or form.cleaned_data["set_usable_password"]:
            super().save_model(request, obj, form, change)
            return
        names = [n for n in form.changed_data if n in obj.journaled_fields()]
        values = {name: getattr(obj, name) for name in names}
        with self.change_set(request) as changes:
            services.invite(changes, obj, invitation_link(request), **values)

    @admin.action(description="Send the invitation again", permissions=("change",))
    def invite_selected(self, request, queryset):
        def again(changes, user):
            services.invite_again(changes, user, invitation_link(request))

        self._each(request, queryset, again, "Invited again")

    @admin.action(description="Withdraw the invitation", permissions=("change",))
    def withdraw_selected(self, request, queryset):
        def withdraw(changes, user):
            changes.save(user, is_invited=False)

        self._each(request, queryset.filter(is_invited=True), withdraw, "Withdrawn")

    def _each(self, request, queryset, work, done):
        """Do it for all of the people, or, where one cannot be, for nobody."""
        try:
            with self.change_set(request) as changes:
                people = list(queryset.select_for_update(of=("self",)))
                for user in people:
                    work(changes, user)
        except APIException as error:
            messages.error(request, str(error.detail))
        else:
            messages.success(request, f"{done}: {len(people)}.")


@admin.register(Role)
class RoleAdmin(JournaledAdmin):
    list_display = ("name", "requires_two_factor", "built_in")
    fields = ("name", "requires_two_factor", "rights", "field_rights")

    def has_change_permission(self, request, obj=None):
        return super().has_change_permission(request, obj) and not (
            obj and obj.built_in
        )


@admin.register(Team)
class TeamAdmin(JournaledAdmin):
    list_display = ("name", "parent")
    list_select_related = ("parent",)
    fields = ("name", "parent")


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request, model_admin):
        return [("live", "Live"), ("revoked", "Revoked"), ("expired", "Expired")]

    def queryset(self, request, queryset):
        match self.value():
            case "live":
                return queryset.live()
            case "revoked":
                return queryset.exclude(revoked_at=None)
            case "expired":
                return queryset.filter(revoked_at=None, expiry__lte=timezone.now())
        return queryset


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin, JournaledAdmin):
    """Keys are made and named in the API; here they are looked at and ended."""

    list_display = (
        *("name", "prefix", "owner", "expiry", "last_used_at", "revoked_at"),
    )
    list_filter = (StateFilter, "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "prefix", "owner__email")
    search_help_text = "Name, beginning of the key, or e-mail of the owner"
    fields = (
        *("name", "prefix", "owner", "scopes", "expiry", "last_used_at"),
        *("revoked_at", "created_at"),
    )
    readonly_fields = fields
    actions = ("revoke_selected",)

    @admin.action(description="Revoke the selected keys", permissions=("view",))
    def revoke_selected(self, request, queryset):
        live = queryset.live().select_for_update(of=("self",))
        try:
            with self.change_set(request) as changes:
                revoked = [
                    changes.save(key, revoked_at=timezone.now())
                    for key in live.order_by("pk")
                ]
        except APIException as error:
            messages.error(request, str(error.detail))
        else:
            messages.success(request, f"Revoked: {len(revoked)}.")
