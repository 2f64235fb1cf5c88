"""What is asked of a report: by whom, of which days, of whose records."""

import datetime
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from core import access
from core.exceptions import bad_parameter
from core.models import Record
from core.serializers import StrictSerializer

from .period import DAY, Period, Preset, start_of_day

# Dates outside of these are not what anybody means, and some zones cannot tell them.
EARLIEST, LATEST = datetime.date(1900, 1, 1), datetime.date(2999, 12, 31)
DAYS_UNTOUCHED = 14
MOST_DAYS = 3650


class DayField(serializers.DateField):
    def to_internal_value(self, value):
        day = super().to_internal_value(value)
        if not EARLIEST <= day <= LATEST:
            raise serializers.ValidationError(
                f"Give a date from {EARLIEST} to {LATEST}.", "out_of_range"
            )
        return day


@extend_schema_field({"type": "string"})
class PersonField(serializers.UUIDField):
    def to_internal_value(self, value):
        return value if value == "me" else super().to_internal_value(value)


class PeriodParameters(StrictSerializer):
    """The parameters of every report."""

    period = serializers.ChoiceField(
        Preset.choices,
        required=False,
        help_text="A period by its name; or give `from` and `to`. Without any, all"
        " time. The days are those of the organization's time zone.",
    )
    to = DayField(required=False, help_text="The last day, included.")
    owner = PersonField(required=False, help_text="Of whose records: an id, or `me`.")
    team = serializers.UUIDField(
        required=False, help_text="Of whose records: this team and those below it."
    )

    def get_fields(self):
        first = DayField(required=False, help_text="The first day.")
        return {"from": first, **super().get_fields()}

    def validate(self, values):
        if "period" in values and {"from", "to"} & values.keys():
            raise bad_parameter("period", "Give a period or dates, not both.")
        if "from" in values and "to" in values and values["to"] < values["from"]:
            raise bad_parameter("to", "This is before `from`.")
        return values


class UntouchedParameters(PeriodParameters):
    days = serializers.IntegerField(
        min_value=1,
        max_value=MOST_DAYS,
        required=False,
        help_text="For how long; without it, after how many days the organization's"
        f" lead process has owners told, or {DAYS_UNTOUCHED}.",
    )


@dataclass(frozen=True)
class Question:
    """What a report answers.

    Attributes:
        today: in the organization's time zone; a report tells of whole days, so that
            an answer holds as long as the records do, or the day.
        owner: of whose records; None: of everybody's.
        team: the ids of the teams whose people's records it is about; None: of all.
        days: how long a lead may wait; None: as the organization's process has it.
    """

    user: object
    today: datetime.date
    period: Period
    owner: UUID | None = None
    team: frozenset[UUID] | None = None
    days: int | None = None

    @classmethod
    def of(cls, user, values: dict, today: datetime.date | None = None) -> "Question":
        """What the values of parameters ask.

        Args:
            values: as the serializer of a report's parameters leaves them.
            today: in the organization's time zone, if it is not the present day.
        """
        zone = ZoneInfo(user.organization.timezone)
        today = today or timezone.now().astimezone(zone).date()
        if "period" in values:
            period = Period.named(values["period"], today, zone)
        else:
            period = Period(values.get("from"), values.get("to"), zone)
        owner = values.get("owner")
        return cls(
            user,
            today,
            period,
            user.pk if owner == "me" else owner,
            team_of(user, values["team"]) if "team" in values else None,
            values.get("days"),
        )

    @property
    def until(self) -> float:
        """When it asks something else, in seconds since the epoch: the day ends."""
        return start_of_day(self.today + DAY, self.period.zone).timestamp()

    @property
    def is_by_owner(self) -> bool:
        return self.owner is not None or self.team is not None

    @property
    def key(self) -> str:
        """Questions of those who see the same have, with equal keys, equal answers."""
        whose = f"owner: {self.owner} team: {sorted(self.team or ())}"
        return f"{self.today} {self.period} {whose} {self.days}"

    @cached_property
    def _names(self) -> dict[UUID, str]:
        return {}

    def names_of(self, ids: set[UUID]) -> dict[UUID, str]:
        """The names of users, blank where they may not be seen.

        Reports that answer the same question are about the same people.
        """
        unknown = ids - self._names.keys()
        if unknown:
            seen = get_user_model().objects.visible_to(self.user)
            seen = seen.filter(pk__in=unknown).only("first_name", "last_name", "email")
            self._names.update(dict.fromkeys(unknown, ""))
            self._names.update({user.pk: str(user) for user in seen})
        return self._names

    @cached_property
    def _owners(self) -> dict[type[Record], list[UUID | None]]:
        return {}

    def owners(self, model: type[Record]) -> list[UUID | None]:
        """Whose records of a type it may be about; None: nobody's."""
        if model not in self._owners:
            self._owners[model] = self._owners_of(model)
        return self._owners[model]

    def _owners_of(self, model: type[Record]) -> list[UUID | None]:
        if self.owner is not None:
            return [self.owner]
        asked = (self.user, model.record_type(), access.Verb.VIEW)
        users = get_user_model().objects.filter(
            access.owner_filter(*asked, owner="pk"),
            organization=self.user.organization_id,
        )
        if self.team is not None:
            users = users.filter(team__in=self.team)
        sees_all = access.scope_of(*asked) == access.Scope.ALL and self.team is None
        return [*users.values_list("pk", flat=True), *([None] if sees_all else [])]

    def hidden(self, model: type[Record]) -> frozenset[str]:
        return access.hidden_fields(self.user, model.record_type())

    def records(self, model: type[Record]) -> QuerySet:
        """The records of a type that it is about, whenever they are from."""
        records = model.objects.visible_to(self.user)
        if self.owner is not None:
            records = records.filter(owner=self.owner)
        if self.team is not None:
            records = records.filter(owner__team__in=self.team)
        return records


def team_of(user, pk: UUID) -> frozenset[UUID]:
    """The ids of a team and of those below it; a 400 where there is none to be seen."""
    teams = get_user_model()._meta.get_field("team").related_model
    team = teams.objects.visible_to(user).filter(pk=pk).first()
    if team is None:
        if access.is_beyond_key(user, teams.record_type(), access.Verb.VIEW):
            raise access.RightMissing(user, teams.record_type(), access.Verb.VIEW)
        raise bad_parameter("team", "There is no such team.", "does_not_exist")
    return frozenset(team.ids_below())
