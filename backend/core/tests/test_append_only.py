from importlib import import_module
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import IntegrityError, connection, migrations, transaction
from django.db.migrations.state import ProjectState
from django.test import TestCase, TransactionTestCase

from core.append_only import SWITCH, erasing
from core.models import Change, ChangeSet, SecurityEvent
from core.models.append_only import AppendOnly
from core.testing import Cast, system_changes

MODELS = (ChangeSet, Change, SecurityEvent)
COLUMNS = {ChangeSet: "reason", Change: "verb", SecurityEvent: "kind"}


def rows() -> list:
    return [list(model.objects.order_by("pk").values()) for model in MODELS]


def execute(statement: str) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


class AppendOnlyTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        SecurityEvent.objects.create(
            organization=cls.cast.organization, user=cls.cast.alice, kind="sign_in"
        )

    def setUp(self):
        self.before = rows()
        self.addCleanup(lambda: self.assertEqual(rows(), self.before))

    def test_these_are_all_the_tables_that_are_only_added_to(self):
        found = [m for m in apps.get_models() if issubclass(m, AppendOnly)]
        self.assertEqual(set(found), set(MODELS))

    def test_only_retention_and_the_tests_tear_down_turn_the_guard_off(self):
        users = {"core/append_only.py", "core/retention.py", "core/testing/runner.py"}
        folder = Path(settings.BACKEND_DIR)
        for path in folder.rglob("*.py"):
            name = str(path.relative_to(folder))
            if name not in users and "tests" not in path.parts:
                with self.subTest(name):
                    text = path.read_text()
                    self.assertNotIn("erasing", text)
                    self.assertNotIn(SWITCH, text)

    def test_our_own_code_cannot_change_or_delete_rows(self):
        for model in MODELS:
            row = model.objects.first()
            column = COLUMNS[model]
            ways = {
                "save": row.save,
                "save some": lambda r=row, c=column: r.save(update_fields=[c]),
                "delete": row.delete,
                "update": lambda m=model, c=column: m.objects.update(**{c: "x"}),
                "delete rows": model.objects.all().delete,
                "bulk_update": lambda m=model, r=row, c=column: m.objects.bulk_update(
                    [r], [c]
                ),
                "upsert": lambda m=model, r=row, c=column: m.objects.bulk_create(
                    [r], update_conflicts=True, unique_fields=["id"], update_fields=[c]
                ),
                "update_or_create": lambda m=model, r=row, c=column: (
                    m.objects.update_or_create({c: "x"}, pk=r.pk)
                ),
            }
            for name, way in ways.items():
                with (
                    self.subTest(f"{model.__name__}: {name}"),
                    self.assertRaises(TypeError),
                ):
                    way()

    def test_a_row_is_not_saved_over_another(self):
        for model in MODELS:
            with self.subTest(model.__name__):
                copy = model(**model.objects.values().first())
                with self.assertRaises(IntegrityError), transaction.atomic():
                    copy.save()

    def test_the_database_refuses_what_goes_around_our_code(self):
        for model in MODELS:
            column = COLUMNS[model]
            plain = model._base_manager
            ways = {
                "update": lambda m=plain, c=column: m.update(**{c: "x"}),
                "raw delete": lambda m=plain: m.all()._raw_delete("default"),
                "upsert": lambda m=plain, c=column: m.bulk_create(
                    [m.first()],
                    update_conflicts=True,
                    unique_fields=["id"],
                    update_fields=[c],
                ),
            }
            for name, way in ways.items():
                with (
                    self.subTest(f"{model.__name__}: {name}"),
                    self.assertRaises(IntegrityError),
                    transaction.atomic(),
                ):
                    way()

    def test_the_database_refuses_raw_sql(self):
        # Or PostgreSQL refuses TRUNCATE because of the checks that still wait.
        connection.check_constraints()
        for model in MODELS:
            table, column = model._meta.db_table, COLUMNS[model]
            statements = [
                "UPDATE {table} SET {column} = 'x'",
                "UPDATE {table} SET id = id",
                "DELETE FROM {table}",
                "DELETE FROM {table} WHERE created_at < '2000-01-01' OR id = id",
            ]
            if connection.vendor == "postgresql":
                statements += [
                    "TRUNCATE {table} CASCADE",
                    "TRUNCATE core_organization CASCADE",
                    "INSERT INTO {table} SELECT * FROM {table}"
                    " ON CONFLICT (id) DO UPDATE SET {column} = 'x'",
                    "MERGE INTO {table} a USING {table} b ON a.id = b.id"
                    " WHEN MATCHED THEN DELETE",
                ]
            else:
                statements += [
                    "REPLACE INTO {table} SELECT * FROM {table}",
                    "INSERT INTO {table} SELECT * FROM {table} WHERE true"
                    " ON CONFLICT (id) DO UPDATE SET {column} = 'x'",
                ]
            for statement in statements:
                with (
                    self.subTest(f"{table}: {statement}"),
                    self.assertRaisesMessage(IntegrityError, "only ever added"),
                ):
                    execute(statement.format(table=table, column=column))

    def test_what_is_no_row_of_them_is_deleted_as_ever(self):
        execute("DELETE FROM core_heartbeat")

    def test_rows_are_still_added(self):
        with system_changes(self.cast.organization) as changes:
            changes.save(self.cast.alice, first_name="Ada")
        self.assertEqual(Change.objects.latest("pk").after, {"first_name": "Ada"})
        self.before = rows()


class ErasureTests(TransactionTestCase):
    def setUp(self):
        cast = Cast()
        SecurityEvent.objects.create(organization=cast.organization, kind="sign_in")

    def erase_events(self):
        SecurityEvent._base_manager.all()._raw_delete("default")

    def test_the_switch_allows_it_in_its_transaction_alone(self):
        with erasing():
            self.erase_events()
        self.assertFalse(SecurityEvent.objects.exists())
        SecurityEvent.objects.create(kind="sign_in")
        with self.assertRaises(IntegrityError):
            self.erase_events()

    def test_the_switch_is_off_in_the_rest_of_an_outer_transaction(self):
        with self.assertRaises(IntegrityError), transaction.atomic():
            with erasing():
                pass
            self.erase_events()
        self.assertTrue(SecurityEvent.objects.exists())

    def test_the_switch_is_off_after_an_error(self):
        with transaction.atomic():
            with self.assertRaises(ZeroDivisionError), erasing():
                self.erase_events()
                raise ZeroDivisionError
            with self.assertRaises(IntegrityError), transaction.atomic():
                self.erase_events()
        self.assertTrue(SecurityEvent.objects.exists())

    def test_the_guard_is_taken_away_and_put_back_by_the_migration(self):
        module = import_module("core.migrations.0003_append_only")
        migration = module.Migration("0003_append_only", "core")
        self.assertIsInstance(migration, migrations.Migration)
        state = ProjectState.from_apps(apps)
        with connection.schema_editor() as editor:
            migration.unapply(state, editor)
        self.erase_events()
        with connection.schema_editor() as editor:
            migration.apply(state, editor)
        SecurityEvent.objects.create(kind="sign_in")
        with self.assertRaises(IntegrityError):
            self.erase_events()
