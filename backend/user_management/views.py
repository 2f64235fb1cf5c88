from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.reauthentication import (
    raise_if_reauthentication_required,
)
from allauth.account.models import EmailAddress
from allauth.core.internal.httpkit import get_frontend_url
from allauth.headless.account import response as account
from allauth.headless.base.response import AuthenticationResponse
from allauth.headless.base.views import APIView as SignInView
from allauth.headless.base.views import AuthenticatedAPIView
from allauth.headless.internal.restkit.response import ErrorResponse
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.http import Http404, HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from core import access, letters
from core.conditional import etag_of, matches, not_modified
from core.exceptions import Busy, Conflict, PreconditionFailed, bad_parameter
from core.origin import origin
from core.parsers import UploadParser
from core.permissions import require_recent_sign_in
from core.renderers import dumps
from core.views import JournaledViewSet, ViewSet
from core.views.base import REASON_HEADER, boolean
from core.views.jobs import JobSerializer
from user_management import avatars, services
from user_management.auth import lacks_two_factor, refusal
from user_management.forms import (
    EmailChangeInput,
    EmailConfirmInput,
    ask_for_email,
)
from user_management.letters import EmailChange, Invitation
from user_management.models import ApiKey, Role, Team, User
from user_management.serializers import (
    AcceptSerializer,
    ApiKeySerializer,
    AvatarSerializer,
    HandOverSerializer,
    InvitationSerializer,
    MadeApiKeySerializer,
    MeSerializer,
    NewApiKeySerializer,
)


class UserViewSet(JournaledViewSet):
    """Colleagues. Everybody sees them; administrators change what they may do."""

    model = User
    fields = (
        *("email", "first_name", "last_name", "role", "team", "manager"),
        *("phone", "phone_e164", "department", "job_title", "bio", "avatar"),
        *("timezone", "language", "is_active", "is_invited", "is_staff"),
    )
    search_fields = ("email", "first_name", "last_name")
    default_ordering = "email"
    # Somebody who leaves is deactivated; their changes keep their name.
    http_method_names = ("get", "head", "put", "patch", "post", "delete")

    def create(self, request):
        """Invite somebody: they are sent a link to choose a password."""
        self.refuse_parameters("fields", "expand", "dry_run")
        self._require_inviting()
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        if serializer.validated_data.get("is_active"):
            raise bad_parameter("is_active", "Not before they have accepted.")
        user = User()
        with self.change_set() as changes:
            services.invite(
                changes, user, invitation_link(request), **serializer.validated_data
            )
        response = self._answer(user, status.HTTP_201_CREATED)
        response["Location"] = request.build_absolute_uri(f"{request.path}{user.pk}/")
        return response

    @extend_schema(request=None)
    @action(detail=True, methods=["post"], filter_backends=())
    def invite(self, request, pk):
        """Send the invitation again; older links end."""
        self.refuse_parameters("fields", "expand", "dry_run")
        self.refuse_body()
        user = self._locked(access.Verb.EDIT, self.get_queryset)
        self._require_inviting()
        with self.change_set() as changes:
            services.invite_again(changes, user, invitation_link(request))
        return self._answer(user)

    @extend_schema(request=None, responses={204: None})
    @invite.mapping.delete
    def withdraw(self, request, pk):
        """Withdraw the invitation: its link ends, the person stays, inactive."""
        self.refuse_parameters("dry_run")
        user = self._locked(access.Verb.EDIT, self.get_queryset)
        if not user.is_invited:
            raise Conflict("There is no open invitation.", "not_invited")
        with self.change_set() as changes:
            changes.save(user, is_invited=False)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _require_inviting(self):
        user = self.request.user
        if user.scope("user", access.Verb.CREATE) != access.Scope.ALL:
            raise access.RightMissing(user, "user", access.Verb.CREATE)

    @extend_schema(responses={(200, "image/webp"): OpenApiTypes.BINARY})
    @action(detail=True, filter_backends=(), pagination_class=None)
    def avatar(self, request, pk):
        """The picture of a colleague, 256 x 256."""
        self.refuse_parameters()
        user = self.get_object()
        etag = f'"{user.avatar}"'
        try:
            picture = user.avatar and avatars.path_of(user.pk, user.avatar).read_bytes()
        except FileNotFoundError:
            picture = None
        if not picture:
            raise Http404
        if not_modified(request, etag):
            response = HttpResponse(status=status.HTTP_304_NOT_MODIFIED)
            del response["Content-Type"]
        else:
            response = HttpResponse(picture, content_type="image/webp")
            response["X-Content-Type-Options"] = "nosniff"
        response["ETag"] = etag
        response["Cache-Control"] = "private, no-cache"
        return response

    @extend_schema(
        operation_id="users_hand_over",
        request=HandOverSerializer,
        responses={202: JobSerializer},
    )
    @action(detail=True, methods=["post"], url_path="hand-over", filter_backends=())
    def hand_over(self, request, pk):
        """Give all that somebody owns to a colleague, as one undoable job."""
        self.refuse_parameters("dry_run")
        user = self.get_object()
        serializer = HandOverSerializer(
            data=request.data, context=self.get_serializer_context()
        )
        serializer.is_valid(raise_exception=True)
        heir = serializer.validated_data["to"]
        if heir == user or not heir.is_active:
            raise bad_parameter("to", "Give an active colleague.")
        job = services.hand_over(
            request.user,
            user,
            heir,
            deactivate=serializer.validated_data["deactivate"],
            reason=request.headers.get(REASON_HEADER, "")[:500],
            **origin(request),
        )
        response = Response(JobSerializer(job).data, status.HTTP_202_ACCEPTED)
        path = f"/api/jobs/{job.pk}/"
        response["Location"] = request.build_absolute_uri(path)
        return response


class TeamViewSet(JournaledViewSet):
    model = Team
    fields = ("name", "parent")
    default_ordering = "name"


class RoleViewSet(JournaledViewSet):
    """What people may do. Built-in roles can be copied, not changed."""

    model = Role
    fields = ("name", "rights", "field_rights", "requires_two_factor", "built_in")
    default_ordering = "name"


class ApiKeyViewSet(JournaledViewSet):
    """What programs sign in with. Everybody has their own; administrators end any."""

    model = ApiKey
    fields = (
        *("name", "scopes", "expiry", "prefix", "owner"),
        *("last_used_at", "revoked_at"),
    )
    http_method_names = ("get", "head", "post", "patch")

    def get_serializer_class(self):
        return NewApiKeySerializer if self.action == "create" else ApiKeySerializer

    def cached(self, build, record_types, visibility):
        """That a key was used is no change that a cache would hear of."""
        return self.uncached(build)

    @extend_schema(responses={201: MadeApiKeySerializer})
    def create(self, request):
        """Make a key of one's own; its text stands in this answer and nowhere else."""
        self.refuse_parameters("fields", "expand", "dry_run")
        access.require_some(request.user, self.record_type, access.Verb.CREATE)
        require_recent_sign_in(request)
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        key = ApiKey(owner=request.user)
        with self.change_set() as changes:
            text = services.make_api_key(changes, key, **serializer.validated_data)
        response = self._answer(key, status.HTTP_201_CREATED)
        response["Location"] = request.build_absolute_uri(f"{request.path}{key.pk}/")
        response.kept_data = {**response.data, "key": None}
        tried = boolean(request, "dry_run")
        response.data = {**response.data, "key": None if tried else text}
        return response

    @extend_schema(request=None, responses=ApiKeySerializer)
    @action(detail=True, methods=["post"], filter_backends=())
    def revoke(self, request, pk):
        """End a key at once and for good."""
        self.refuse_parameters("fields", "expand", "dry_run")
        self.refuse_body()
        key = self._locked(access.Verb.EDIT, self.get_queryset)
        if key.revoked_at:
            raise Conflict("This key is revoked already.", "already_revoked")
        with self.change_set() as changes:
            changes.save(key, revoked_at=timezone.now())
        return self._answer(key)


class MeViewSet(ViewSet):
    """The user who asks."""

    model = User
    serializer_class = MeSerializer

    def retrieve(self, request):
        self.refuse_parameters()
        user = request.user
        # Loaded with the sign-in already: a cache could only make it old.
        return self.conditional(self._answer(user), user.version)

    def partial_update(self, request):
        self.refuse_parameters("dry_run")
        user = self._locked()
        current = self._answer(user)
        serializer = self.get_serializer(
            data=request.data, partial=True, context={"current": current}
        )
        serializer.is_valid(raise_exception=True)
        with self.change_set() as changes:
            changes.save(user, **serializer.validated_data)
        return self._response(user)

    @extend_schema(
        request={"multipart/form-data": AvatarSerializer}, responses=MeSerializer
    )
    def put_avatar(self, request):
        """Show a picture: its middle, as a square of 256 x 256 pixels."""
        self.refuse_parameters()
        serializer = AvatarSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            picture = avatars.squared(serializer.validated_data["file"])
        except avatars.NoPicture as error:
            raise bad_parameter("file", str(error), "invalid_image") from error
        user = self._locked()
        try:
            with self.change_set() as changes:
                avatars.put(changes, user, picture)
        except OSError as error:
            raise Busy("The picture could not be stored.") from error
        return self._response(user)

    @extend_schema(request=None, responses={200: MeSerializer})
    def delete_avatar(self, request):
        """Show no picture any more."""
        self.refuse_parameters()
        user = self._locked()
        with self.change_set() as changes:
            avatars.remove(changes, user)
        return self._response(user)

    def get_parsers(self):
        uploads = getattr(self, "action_map", {}).get("put") == "put_avatar"
        return [UploadParser()] if uploads else super().get_parsers()

    def _locked(self):
        """The user's row, locked, if it may be changed to the request's `If-Match`."""
        user = User.objects.select_for_update(of=("self",)).get(pk=self.request.user.pk)
        access.require(self.request.user, user, access.Verb.EDIT)
        if not matches(self.request, user.version):
            current = self._answer(user)
            raise PreconditionFailed(current, etag_of(dumps(current), user.version))
        return user

    def _response(self, user):
        answer = self._answer(user)
        return Response(answer, headers={"ETag": etag_of(dumps(answer), user.version)})

    def _answer(self, user):
        return self.get_serializer(user).data


def invitation_link(request) -> str:
    return get_frontend_url(request, "invitation", key=letters.KEY)


class InvitationView(APIView):
    """An invitation, for whoever has its link. They are not signed in by accepting."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    @extend_schema(responses=InvitationSerializer)
    def get(self, request, key):
        """Who is invited, by whom, until when."""
        response = Response(InvitationSerializer(self._letter(key)).data)
        response["Cache-Control"] = "no-store"
        return response

    @extend_schema(request=AcceptSerializer, responses={204: None})
    def post(self, request, key):
        """Accept, and choose the password to sign in with. It works once."""
        letter = self._letter(key)
        serializer = AcceptSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        password = serializer.validated_data["password"]
        try:
            validate_password(password, letter.user)
        except ValidationError as error:
            raise ValidationError({"password": error.error_list}) from None
        if services.accept_invitation(letter, password, **origin(request)) is None:
            raise Http404
        return Response(status=status.HTTP_204_NO_CONTENT)

    @staticmethod
    def _letter(key):
        letter = letters.find(key, Invitation)
        if letter is None:
            raise Http404
        return letter


class EmailView(AuthenticatedAPIView):
    """One's address, and the new one that waits to be confirmed.

    In the shape of allauth's own view, which would do what no change set knows of.
    """

    input_class = {"POST": EmailChangeInput}
    http_method_names = ("get", "post")

    def get(self, request, *args, **kwargs):
        user = request.user
        verified = EmailAddress.objects.filter(email=user.email, verified=True).exists()
        addresses = [EmailAddress(email=user.email, primary=True, verified=verified)]
        waiting = user.letters.filter(kind=EmailChange.name, ended_at=None)
        addresses += [EmailAddress(email=letter.email) for letter in waiting]
        return account.EmailAddressesResponse(request, addresses)

    def post(self, request, *args, **kwargs):
        if lacks_two_factor(request.user):
            raise refusal(
                request, 403, "two_factor_required", "Set up 2FA first, please."
            )
        raise_if_reauthentication_required(request, app="allauth.account")
        ask_for_email(request, self.input.cleaned_data["email"])
        return self.get(request)


class VerifyEmailView(SignInView):
    """Confirms a new address with the key that was sent to it."""

    input_class = EmailConfirmInput
    http_method_names = ("get", "post")
    handle_json_input = True

    def get(self, request, *args, **kwargs):
        found = EmailConfirmInput(
            {"key": request.headers.get("X-Email-Verification-Key", "")}
        )
        if not found.is_valid():
            return ErrorResponse(request, input=found)
        address = EmailAddress(user=found.letter.user, email=found.letter.email)
        return account.VerifyEmailResponse(request, address, stage=None)

    def post(self, request, *args, **kwargs):
        try:
            user = services.confirm_email(self.input.letter, **origin(request))
        except IntegrityError:
            return self._refused("email_taken")
        if user is None:
            return self._refused("invalid_or_expired_key")
        if request.user == user:
            get_adapter().logout(request)
        return AuthenticationResponse(request)

    def _refused(self, code):
        self.input.add_error("key", get_adapter().validation_error(code))
        return ErrorResponse(self.request, input=self.input)
