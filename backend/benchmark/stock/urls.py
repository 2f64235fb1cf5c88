from django.contrib.auth import authenticate, get_user_model
from django.urls import include, path
from rest_framework import routers, serializers, viewsets
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.response import Response
from rest_framework.views import APIView

from benchmark.stock.models import StockContact
from benchmark.stock.tokens import token_of


class UserSerializer(serializers.ModelSerializer):
    class Meta:
        model = get_user_model()
        fields = ("id", "email", "first_name", "last_name")


class ContactSerializer(serializers.ModelSerializer):
    """Two users nested: MyCRM's contacts have one, which stands for both."""

    assigned_to = UserSerializer(source="owner", read_only=True)
    created_by = UserSerializer(source="owner", read_only=True)

    class Meta:
        model = StockContact
        exclude = ("search_text", "deleted_at", "owner")
        read_only_fields = ("organization",)


class ContactViewSet(viewsets.ModelViewSet):
    serializer_class = ContactSerializer

    def get_queryset(self):
        contacts = StockContact.objects.select_related("owner")
        mine = {"organization": self.request.user.organization_id}
        return contacts.filter(deleted_at=None, **mine)

    def perform_create(self, serializer):
        user = self.request.user
        serializer.save(owner=user, organization=user.organization)


class TokenView(APIView):
    authentication_classes = ()
    permission_classes = ()

    def post(self, request):
        user = authenticate(request, **request.data)
        if user is None:
            raise AuthenticationFailed
        return Response({"access": token_of(user)})


router = routers.SimpleRouter()
router.register("contacts", ContactViewSet, basename="contact")
urlpatterns = [
    path("api/token/", TokenView.as_view()),
    path("api/", include(router.urls)),
]
