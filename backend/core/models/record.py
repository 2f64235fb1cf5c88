"""What every record type brings: `Journaled` for what the journal follows, `Record` on
top of it for what people own, see by their role's scope, delete and restore."""

from functools import lru_cache

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from core.access import Verb, is_beyond_key, owner_filter
from core.custom_fields.definitions import definitions_of
from core.field_rights import CUSTOM
from core.ids import new_id
from core.indexes import SearchIndex, WordsIndex
from core.jsonvalues import check
from core.search import search_text

MAX_CUSTOM_FIELDS_CHARACTERS = 20_000
# Few rows are deleted, and the purge looks at no others.
DELETED_INDEX = models.Index(
    fields=["organization", "deleted_at"],
    name="%(class)s_deleted",
    condition=models.Q(deleted_at__isnull=False),
)


class Journaled(models.Model):
    """A row that only a `ChangeSet` writes, which counts its version."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    organization = models.ForeignKey(
        "core.Organization", models.PROTECT, related_name="+", editable=False
    )
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    # Fields that never reach the journal, such as a password's hash.
    unjournaled = ()
    # Fields that only the program writes, and that undo takes back nevertheless.
    undone_fields = ("deleted_at",)
    # The way from a row to its organization, in look-ups.
    organization_path = "organization"
    # What is shown of a row and is no column of its table: fields that say by name what
    # kind of value it is. The rows that views read have it.
    computed_fields = {}
    # What the scopes of an API key can be about: `read`, `write` and so on.
    key_scopes: tuple[str, ...] = ()

    class Meta:
        abstract = True

    def save(self, *args, update_fields=None, **kwargs):
        if update_fields is None or not set(update_fields) <= set(self.unjournaled):
            raise TypeError("Records are written through a ChangeSet only.")
        super().save(*args, update_fields=update_fields, **kwargs)

    def delete(self, *args, **kwargs):
        raise TypeError("Records are deleted through a ChangeSet only.")

    def before_write(self) -> tuple[str, ...]:
        """Set what is worked out from other fields and not journalled; its names."""
        return ()

    def with_consequences(self, values: dict) -> dict:
        """New values that are asked for, with those that they bring along.

        However they are asked for; but an undo gives each value back by itself.
        """
        return values

    def clean_custom_fields(self) -> None:
        """Check them, and bring each into its one spelling, where a row has any."""

    def uncreated(self) -> dict | None:
        """The values that undo gives a row instead of deleting it; None: it cannot."""
        return None

    def after_write(self, changed, changes) -> None:
        """Do what follows from new values in these fields, as part of the changes."""

    def moved_with(self, names: set[str]) -> "Journaled | None":
        """The record whose change moved this one along, in these fields.

        Whoever may edit that may undo this too, without a right to edit this one.
        """
        return None

    def follow_up(self, changes, before: dict) -> None:
        """Go on with what this change of the record means for other records.

        Args:
            changes: what changed the record, and writes what follows.
            before: the `snapshot` of the record before.
        """

    @classmethod
    def after_writes(cls, updates, changes) -> None:
        """Do what follows from new rows and new values, once they are all written.

        Args:
            updates: pairs of a row and what it was before, which holds at least what
                changed; None for a new row.
        """

    @classmethod
    def founding_rows(cls) -> list["Journaled"]:
        """What every new organization starts with, to be saved."""
        return []

    @classmethod
    def record_type(cls) -> str:
        """The name of this type in rights, in the journal and in imports."""
        return cls._meta.model_name

    @classmethod
    def plural(cls) -> str:
        """What its addresses are called after; or those of what it is a part of."""
        return str(cls._meta.verbose_name_plural)

    @classmethod
    def journaled_fields(cls) -> dict[str, models.Field]:
        """The fields whose changes the journal keeps, by name."""
        left_out = {
            "id",
            "organization",
            "version",
            "created_at",
            "updated_at",
            *cls.unjournaled,
        }
        return {f.name: f for f in cls._meta.concrete_fields if f.name not in left_out}

    def belongs_to(self):
        """The user whose scope decides about this row; None where it is nobody's."""
        return None

    def guard(self, actor, changed: set[str]) -> None:
        """Raise where the actor may change this row, but not in this way.

        Asked before a row is written whose fields in `changed` are new.
        """


class ScopedQuerySet(models.QuerySet):
    """Rows of an organization that people see by their role's scope."""

    # The path to the user that a row belongs to.
    owner_path = "owner"

    def within(self, user, verb: str) -> "ScopedQuerySet":
        """Rows that the user's scope for the verb covers; none for anonymous."""
        if not user.is_authenticated:
            return self.none()
        return self.filter(
            owner_filter(user, self.model.record_type(), verb, self.owner_path),
            organization=user.organization_id,
        )

    def visible_to(self, user) -> "ScopedQuerySet":
        return self.within(user, Verb.VIEW)


class JournaledQuerySet(ScopedQuerySet):
    """Reads only: a write that goes around the journal is a mistake, and says so."""

    def _refuse(self, *args, **kwargs):
        raise TypeError("Records are written through a ChangeSet only.")

    bulk_create = bulk_update = update = delete = _refuse
    _refuse.alters_data = True
    _refuse.queryset_only = False


class SharedQuerySet(JournaledQuerySet):
    """What everybody in an organization sees of it, such as its people and teams.

    A program sees them if a scope of its API key says so.
    """

    def visible_to(self, user) -> "SharedQuerySet":
        if not user.is_authenticated:
            return self.none()
        if is_beyond_key(user, self.model.record_type(), Verb.VIEW):
            return self.none()
        return self.filter(organization=user.organization_id)


class RecordQuerySet(JournaledQuerySet):
    """The one visibility rule: every read of records starts from `visible_to`."""

    def visible_to(self, user) -> "RecordQuerySet":
        """Live records that the user may see; none for anonymous."""
        return self.within(user, Verb.VIEW).live()

    def editable_by(self, user) -> "RecordQuerySet":
        """Live records that the user may change."""
        return self.within(user, Verb.EDIT).live()

    def live(self) -> "RecordQuerySet":
        return self.filter(deleted_at=None)

    def deleted(self) -> "RecordQuerySet":
        return self.exclude(deleted_at=None)


class Record(Journaled):
    """A business record: owned, seen by scope, deleted softly, with custom fields."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="The user responsible; whoever creates the record if not given.",
    )
    deleted_at = models.DateTimeField(null=True, editable=False)
    custom_fields = models.JSONField(default=dict, blank=True)
    search_text = models.TextField(
        default="", editable=False, help_text="What core.search finds it by."
    )

    objects = RecordQuerySet.as_manager()
    unjournaled = ("search_text",)
    key_scopes = ("read", "write", "delete", "export", "import")

    # The custom fields that may stand as they are, whatever the definitions say now.
    known_custom_fields = {}
    # The fields that a search looks into; without them, all texts that are no choices.
    search_fields = ()
    # What an expanded relation shows of a record of this type.
    summary_fields = ("id",)
    # Headers of imported files, normalised (core.importing.mapping), to field names.
    import_headers = {}
    # How a record is a vCard (core.exporting.vcard); it is none if blank.
    vcard = {}
    # Fields worked out from another one, by name: who may not see that, not these.
    derived_from = {}
    # The field with the moment at which a record of this type stands in the timelines
    # of the records that it refers to; None: in none.
    happens_at = None
    # How an import finds the record that a row means: the first of these groups of
    # fields that the row fills decides, among live records that leave the groups
    # before it blank.
    import_match = ()
    # By field, what other programs call its choices, in lower case.
    import_choices: dict[str, dict[str, str]] = {}
    # What rows can say beside the fields: names that columns can go to, for
    # `take_extras` or `prepare_import` to make something of, and the field that it
    # fills. To one that ends in a dot columns go with the name of a system.
    import_extras: dict[str, str] = {}
    is_importable = True
    # Whether the rules of the organization can choose the owner of a new record. What
    # it wants of them stands in `auto_assign`: true, false, or the id of one of them.
    is_assigned_by_rules = False
    auto_assign: bool | str = False
    # Whether it says something of its owner, so that nobody takes it over from them.
    is_personal = False
    # The texts in which `@somebody` tells them of the record (core.mentions).
    mention_fields: tuple[str, ...] = ()
    # Whether a record says only that others belong together: it stays when one of them
    # is deleted, is no reason to keep one that an undo takes, is purged with it, and is
    # no news to its owner.
    is_link = False

    class Meta:
        abstract = True
        # The indexes that the lists of every record type stand on.
        indexes = [
            models.Index(
                fields=["organization", "-created_at", "-id"],
                name="%(class)s_newest",
                condition=models.Q(deleted_at=None),
            ),
            models.Index(
                fields=["organization", "owner", "-created_at", "-id"],
                name="%(class)s_owned",
                condition=models.Q(deleted_at=None),
            ),
            SearchIndex(name="%(class)s_search", condition=models.Q(deleted_at=None)),
            WordsIndex(name="%(class)s_words", condition=models.Q(deleted_at=None)),
            DELETED_INDEX,
        ]

    def __str__(self):
        names = (getattr(self, name) for name in self.summary_fields[1:])
        return " ".join(str(name) for name in names if name) or str(self.pk)

    @classmethod
    @lru_cache
    def searched_fields(cls) -> tuple[str, ...]:
        return cls.search_fields or tuple(
            field.name
            for field in cls._meta.concrete_fields
            if isinstance(field, models.CharField) and not field.choices
        )

    @classmethod
    def from_db(cls, db, field_names, values):
        record = super().from_db(db, field_names, values)
        record.accept_custom_fields()
        return record

    def refresh_from_db(self, using=None, fields=None, **kwargs):
        super().refresh_from_db(using, fields, **kwargs)
        if fields is None or CUSTOM in fields:
            self.accept_custom_fields()

    def accept_custom_fields(self) -> None:
        """Let the custom fields of now stand as they are."""
        self.known_custom_fields = vars(self).get(CUSTOM, {})

    def belongs_to(self):
        return self.owner

    def before_write(self):
        self.search_text = search_text(self)
        self.accept_custom_fields()
        return ("search_text",)

    def uncreated(self):
        return {"deleted_at": self.deleted_at or timezone.now()}

    def import_further(self, field: str, value: str, column: str) -> str | None:
        """Take one more value of a field that an imported row has filled already.

        Returns:
            The field that it went to; None where there is no place for it.
        """

    def take_extras(self, draft, zone) -> None:
        """Take what an imported row says beside the fields, before it is validated.

        What needs other records to be written is for `prepare_import`. A field that is
        set here is named in the draft's `given`, unless it is for a new record alone.

        Args:
            draft: core.importing.drafts.Draft, with what `import_extras` named.
            zone: of moments that tell none.

        Raises:
            ValidationError: by the names of `import_extras`.
        """

    def settle_import(self, given: dict[str, str]) -> None:
        """Put right what an imported row says, where that tells which record it means.

        Args:
            given: the column of each field that the row fills, to be kept true.
        """

    @classmethod
    def check_auto_assign(cls, wish: bool | str, user) -> None:
        """Raise ValidationError where the user may not want this of the rules."""
        if wish and not cls.is_assigned_by_rules:
            raise ValidationError(
                f"No rules assign a record of the type '{cls.record_type()}'.",
                code="not_assigned",
            )

    @classmethod
    def prepare_import(cls, changes, drafts) -> None:
        """Make related records of what a chunk of imported rows says of them.

        Called once for each chunk that says such things, with the rows of it that make
        or change records. What belongs to a draft's record is set there, and named in
        its `given`.

        Args:
            changes: writes what has to be made; a trial takes it back.
            drafts: core.importing.drafts.Draft, with what `import_extras` named. One
                that gets a `fault` is refused.
        """

    def clean_fields(self, exclude=None):
        super().clean_fields(exclude)
        self.clean_custom_fields()

    def clean_custom_fields(self):
        if CUSTOM not in vars(self):  # it was not read
            return
        if not isinstance(self.custom_fields, dict):
            raise ValidationError(
                {
                    "custom_fields": ValidationError(
                        "Give an object.", code="not_an_object"
                    )
                }
            )
        if self._state.adding or self.custom_fields != self.known_custom_fields:
            definitions = definitions_of(self.organization, self.record_type())
            if definitions:
                self.custom_fields = definitions.checked(
                    self.custom_fields, self.known_custom_fields, self._state.adding
                )
        try:
            check(self.custom_fields)
        except ValueError as error:
            raise ValidationError(
                {"custom_fields": ValidationError(str(error), code="invalid")}
            ) from None
        if len(str(self.custom_fields)) > MAX_CUSTOM_FIELDS_CHARACTERS:
            raise ValidationError(
                {
                    "custom_fields": ValidationError(
                        f"At most {MAX_CUSTOM_FIELDS_CHARACTERS} characters.",
                        code="max_length",
                    )
                }
            )


def unique_among_live(
    *fields: str, name: str, unless_blank: bool = True
) -> models.UniqueConstraint:
    """Values that no two live records of an organization share, unless blank.

    A deleted record does not stand in the way of a new one.

    Args:
        unless_blank: False for fields that are no texts.
    """
    condition = models.Q(deleted_at=None)
    for field in fields if unless_blank else ():
        condition &= ~models.Q((field, ""))
    return models.UniqueConstraint(
        fields=["organization", *fields],
        condition=condition,
        name=name,
        violation_error_code="unique",
        violation_error_message=f"Another record has this {' and '.join(fields)}.",
    )
