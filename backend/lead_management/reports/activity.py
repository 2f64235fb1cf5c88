from django.db.models import Count, Q, Sum
from rest_framework import serializers

from core.serializers import StrictSerializer
from lead_management.models import Activity

from .period import DAY, start_of_day
from .report import PersonSerializer, Report, ReportSerializer, by_most
from .table import TEXT, Column, Table, person


class KindsSerializer(StrictSerializer):
    def get_fields(self):
        return {kind.value: serializers.IntegerField() for kind in Activity.Kind}


class PersonActivitySerializer(StrictSerializer):
    person = PersonSerializer(allow_null=True)
    activities = serializers.IntegerField()
    kinds = KindsSerializer()
    minutes = serializers.IntegerField(
        required=False, help_text="How long those took that say it."
    )
    tasks_done = serializers.IntegerField(required=False)


class ActivityReportSerializer(ReportSerializer):
    people = PersonActivitySerializer(
        many=True, help_text="The one with most activities first."
    )


class ActivityPerPerson(Report):
    """What everybody did in a period, until today: what is planned does not count."""

    name = "activity"
    title = "Activity per user"
    model = Activity
    moment = "occurred_at"
    needs = {Activity: ("owner", "kind", "occurred_at")}
    serializer = ActivityReportSerializer

    def figures(self):
        [rows] = self.counted(self._done)
        rows = by_most(rows, "activities")
        people = self.people(row["owner"] for row in rows)
        return {"people": [self._told(row, people.get(row["owner"])) for row in rows]}

    def _done(self, records):
        tomorrow = start_of_day(self.asked.today + DAY, self.asked.period.zone)
        counts = {kind: Count("pk", Q(kind=kind)) for kind in Activity.Kind.values}
        rows = records.filter(occurred_at__lt=tomorrow).values("owner")
        return rows.annotate(
            activities=Count("pk"),
            minutes=Sum("duration_minutes"),
            tasks_done=Count("pk", Q(done_at__isnull=False)),
            **{f"of_{kind}": count for kind, count in counts.items()},
        )

    def _told(self, row: dict, person: dict | None) -> dict:
        told = {
            "person": person,
            "activities": row["activities"],
            "kinds": {kind: row[f"of_{kind}"] for kind in Activity.Kind.values},
        }
        if "duration_minutes" not in self.hidden:
            told["minutes"] = row["minutes"] or 0
        if "done_at" not in self.hidden:
            told["tasks_done"] = row["tasks_done"]
        return told

    def table(self, answer):
        people = answer["people"]
        more = [n for n in ("minutes", "tasks_done") if people and n in people[0]]
        kinds = Activity.Kind
        table = Table(
            [
                Column("Person", TEXT),
                Column("Activities"),
                *(Column(kind.label) for kind in kinds),
                *(Column(name.replace("_", " ").capitalize()) for name in more),
            ],
            bars=[1],
        )
        for one in people:
            row = [person(one["person"]), one["activities"]]
            row += [one["kinds"][kind.value] for kind in kinds]
            table.rows.append([*row, *(one[name] for name in more)])
        return table
