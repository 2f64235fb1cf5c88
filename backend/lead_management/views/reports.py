"""What the reports tell, each at an address of its own, and together as a dashboard."""

from collections.abc import Callable
from functools import partial

from django.http import HttpResponse
from django.urls import path
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers

from core.exceptions import bad_parameter
from core.plans import Made, Plan
from core.serializers import StrictSerializer
from core.views.base import ViewSet
from lead_management.reports import (
    REPORTS,
    PeriodParameters,
    PeriodSerializer,
    Question,
    Report,
    dashboard,
    made_from,
    reports_for,
)
from lead_management.reports.files import MEDIA_TYPES, file_of

FILES = [media_type.partition(";")[0] for media_type in MEDIA_TYPES.values()]
OF_OWNERS = ("owner", "team")


class ReportPlan(Plan):
    """What is told of a question, as long as it is the same, and who there is."""

    def __init__(self, told: Callable[[], object]):
        self.told = told

    def answer(self, request):
        return Made(self.told())


class AskedViewSet(ViewSet):
    """A view whose answer is made of reports, and kept like a list."""

    pagination_class = None
    filter_backends = ()
    is_recalled = True
    parameters = PeriodParameters

    def asked(self, left_out: tuple[str, ...] = ()) -> Question:
        """What the parameters ask.

        Args:
            left_out: parameters that are not there for this user.
        """
        known = self.parameters().fields.keys() - set(left_out)
        self.refuse_parameters(*known)
        for name, values in self.request.query_params.lists():
            if len(values) > 1:
                raise bad_parameter(name, "Given more than once.", "repeated")
        asked = self.parameters(data=self.request.query_params.dict())
        asked.is_valid(raise_exception=True)
        return Question.of(self.request.user, asked.validated_data)


class ReportView(AskedViewSet):
    """One report."""

    report: type[Report]

    def retrieve(self, request):
        report = self.report
        report.require(request.user)
        asked = self.asked(() if report.shows_owners(request.user) else OF_OWNERS)
        ending = request.query_params.get("format", "json")
        if ending != "json":
            name, content, media_type = file_of(report(asked), ending)
            response = HttpResponse(content, content_type=media_type)
            kind = "inline" if ending == "html" else "attachment"
            response["Content-Disposition"] = f'{kind}; filename="{name}"'
            response["Cache-Control"] = "private, no-store"
            return response
        made = made_from(asked, [report])
        return self.cached(lambda: ReportPlan(report(asked).kept), *made, asked.until)


class ReportSummarySerializer(StrictSerializer):
    name = serializers.CharField()
    title = serializers.CharField()
    about = serializers.CharField()
    period_of = serializers.CharField(help_text="The field that the period is about.")
    parameters = serializers.ListField(child=serializers.CharField())
    url = serializers.URLField()


class ReportListSerializer(StrictSerializer):
    results = ReportSummarySerializer(many=True)


class ReportsViewSet(ViewSet):
    """The reports that there are for whoever asks."""

    pagination_class = None
    filter_backends = ()
    serializer_class = ReportListSerializer

    @extend_schema(operation_id="reports_list")
    def retrieve(self, request):
        self.refuse_parameters()
        user = request.user
        return self.conditional(
            {
                "results": [
                    {
                        "name": report.name,
                        "title": report.title,
                        "about": " ".join(report.__doc__.split()),
                        "period_of": report.moment,
                        "parameters": [
                            name
                            for name in report.parameters().fields
                            if name not in OF_OWNERS or report.shows_owners(user)
                        ],
                        "url": request.build_absolute_uri(
                            f"{request.path}{report.name}/"
                        ),
                    }
                    for report in REPORTS.values()
                    if report.is_for(user)
                ]
            }
        )


def with_format(parameters: type[PeriodParameters]) -> type[PeriodParameters]:
    """The parameters of a report, and as what it is answered."""
    choices = serializers.ChoiceField(
        ["json", *MEDIA_TYPES],
        required=False,
        help_text="`csv`, `xlsx` with charts, or `html`, a page with charts.",
    )
    return type(f"{parameters.__name__}OfFile", (parameters,), {"format": choices})


def view_of(report: type[Report]):
    """The view class of one report, with its own shape in the schema."""
    view = type(
        f"{report.__name__}View",
        (ReportView,),
        {
            "__doc__": report.__doc__,
            "report": report,
            "parameters": with_format(report.parameters),
            "serializer_class": report.serializer,
        },
    )
    shown = extend_schema(
        operation_id=f"reports_{report.name}",
        parameters=[with_format(report.parameters)],
        responses={
            200: report.serializer,
            **{(200, name): OpenApiTypes.BINARY for name in FILES},
        },
    )
    return extend_schema_view(retrieve=shown)(view)


class DashboardSerializer(StrictSerializer):
    period = PeriodSerializer()

    def get_fields(self):
        reports = {
            name: report.serializer(required=False) for name, report in REPORTS.items()
        }
        return {**super().get_fields(), **reports}


class DashboardViewSet(AskedViewSet):
    """All reports in one answer: those that there are for whoever asks.

    By owner or team, those are left out whose owners they do not see.
    """

    serializer_class = DashboardSerializer

    @extend_schema(operation_id="dashboard", parameters=[PeriodParameters])
    def retrieve(self, request):
        asked = self.asked()
        reports = reports_for(asked)

        def build():
            return ReportPlan(
                partial(dashboard, asked, [report(asked) for report in reports])
            )

        return self.cached(build, *made_from(asked, reports), asked.until)


report_urls = [
    path("dashboard/", DashboardViewSet.as_view({"get": "retrieve"}), name="dashboard"),
    path("reports/", ReportsViewSet.as_view({"get": "retrieve"}), name="reports"),
    *(
        path(
            f"reports/{name}/",
            view_of(report).as_view({"get": "retrieve"}),
            name=f"report-{name}",
        )
        for name, report in REPORTS.items()
    ),
]
