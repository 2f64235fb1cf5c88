from collections import defaultdict

from django.core.exceptions import ValidationError
from django.db import models

from core.circles import closes_circle
from core.models import Journaled, SharedQuerySet


class Team(Journaled):
    """People who work together; with the scope "team" they see each other's records."""

    name = models.CharField(max_length=100)
    parent = models.ForeignKey(
        "self",
        models.PROTECT,
        related_name="children",
        null=True,
        blank=True,
        help_text="The team above. The scope 'team' covers the teams below one's own.",
    )

    objects = SharedQuerySet.as_manager()
    summary_fields = ("id", "name")
    key_scopes = ("read",)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], name="team_name_unique"
            )
        ]

    def __str__(self):
        return self.name

    def clean(self):
        super().clean()
        if closes_circle(self, "parent"):
            error = ValidationError("A team cannot be below itself.", "circular")
            raise ValidationError({"parent": error})

    def ids_below(self) -> set:
        """The ids of this team and of all teams below it."""
        children = defaultdict(list)
        teams = Team.objects.filter(organization=self.organization_id)
        for pk, parent in teams.values_list("pk", "parent"):
            children[parent].append(pk)
        found = set()
        waiting = [self.pk]
        while waiting:
            pk = waiting.pop()
            if pk not in found:
                found.add(pk)
                waiting += children[pk]
        return found
