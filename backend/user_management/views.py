from rest_framework.response import Response

from core import access
from core.conditional import etag_of, matches
from core.exceptions import PreconditionFailed
from core.renderers import dumps
from core.views import ViewSet
from user_management.models import User
from user_management.serializers import MeSerializer


class MeViewSet(ViewSet):
    """The user who asks."""

    model = User
    serializer_class = MeSerializer

    def retrieve(self, request):
        self.refuse_parameters()
        user = request.user
        return self.cached(
            lambda: (self._answer(user), user.version), {"user", "role"}, str(user.pk)
        )

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
