from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.response import Response

from core import access
from core.conditional import etag_of, matches
from core.exceptions import Conflict, PreconditionFailed, bad_parameter
from core.origin import origin
from core.permissions import require_recent_sign_in
from core.renderers import dumps
from core.views import JournaledViewSet, ViewSet
from core.views.base import REASON_HEADER, boolean
from core.views.jobs import JobSerializer
from user_management import services
from user_management.models import ApiKey, Role, Team, User
from user_management.serializers import (
    ApiKeySerializer,
    HandOverSerializer,
    MadeApiKeySerializer,
    MeSerializer,
    NewApiKeySerializer,
)


class UserViewSet(JournaledViewSet):
    """Colleagues. Everybody sees them; administrators change what they may do."""

    model = User
    fields = (
        *("email", "first_name", "last_name", "role", "team"),
        *("timezone", "language", "is_active", "is_staff"),
    )
    search_fields = ("email", "first_name", "last_name")
    default_ordering = "email"
    # Somebody who leaves is deactivated; their changes keep their name.
    http_method_names = ("get", "head", "put", "patch", "post")

    @extend_schema(exclude=True)
    def create(self, request):
        """People are made by the admin until they can be invited."""
        raise MethodNotAllowed(request.method)

    @extend_schema(
        operation_id="users_hand_over",
        request=HandOverSerializer,
        responses={202: JobSerializer},
    )
    @action(detail=True, methods=["post"], url_path="hand-over", filter_backends=())
    def hand_over(self, request, pk):
        """Give all that somebody owns to a colleague, as one undoable job."""
        self.refuse_parameters()
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
        return self.conditional(*build())

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
        key = self._locked(access.Verb.EDIT, self.get_queryset())
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
        user = User.objects.select_for_update(of=("self",)).get(pk=request.user.pk)
        access.require(request.user, user, access.Verb.EDIT)
        current = self._answer(user)
        if not matches(request, user.version):
            raise PreconditionFailed(current, etag_of(dumps(current), user.version))
        serializer = self.get_serializer(
            data=request.data, partial=True, context={"current": current}
        )
        serializer.is_valid(raise_exception=True)
        with self.change_set() as changes:
            changes.save(user, **serializer.validated_data)
        answer = self._answer(user)
        return Response(answer, headers={"ETag": etag_of(dumps(answer), user.version)})

    def _answer(self, user):
        return self.get_serializer(user).data
