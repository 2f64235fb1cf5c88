"""What can be asked of an import."""

from dataclasses import dataclass

from django.db import models

EXTERNAL_IDS = "external_ids"


class Mode(models.TextChoices):
    """What a row may do: make a record, change the one it means, or either."""

    CREATE = "create"
    UPDATE = "update"
    UPSERT = "upsert"


class Blank(models.TextChoices):
    """What a blank cell does to the record that its row means."""

    IGNORE = "ignore"
    CLEAR = "clear"


@dataclass(frozen=True)
class Options:
    """How rows are taken. `asdict` of it survives a trip through JSON.

    Attributes:
        mode: a Mode.
        match: by what a row means a record: blank for the rules of its type, `id`, or
            `external_ids.<source>`.
        blank: a Blank.
        owner: the id of the user who gets all rows; blank for what the rows say.
        tags: for all rows.
        auto_assign: whether rules choose the owners of new records whose rows name
            none: true, false, or the id of a rule.
    """

    mode: str = Mode.CREATE
    match: str = ""
    blank: str = Blank.IGNORE
    owner: str = ""
    tags: tuple[str, ...] = ()
    auto_assign: bool | str = False

    @property
    def source(self) -> str:
        """The system whose ids rows are matched by, if they are."""
        name, _, source = self.match.partition(".")
        return source if name == EXTERNAL_IDS else ""
