from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.test import TestCase
from rest_framework.exceptions import PermissionDenied

from contact_management.models import Contact
from core import history
from core.exceptions import StaleRecord
from core.models import Change, ChangeSet
from core.models.values import snapshot
from core.testing import OWN, Cast, make_role, make_user, system_changes

User = get_user_model()


class JournalTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def open(self, user=None, **attributes):
        return ChangeSet.open(
            actor=user or self.cast.alice, source=ChangeSet.Source.API, **attributes
        )

    def make(self, user=None, **fields) -> Contact:
        contact = Contact()
        with self.open(user) as changes:
            changes.save(contact, **{"last_name": "King", **fields})
        return self.stored(contact)

    def stored(self, contact) -> Contact:
        return Contact.objects.get(pk=contact.pk)

    def changes_of(self, record) -> list[Change]:
        return list(Change.objects.filter(record_id=record.pk).order_by("version"))

    # Creating

    def test_a_creation_is_one_change_that_repeats_no_values(self):
        contact = self.make(email="ada@example.com")
        [change] = self.changes_of(contact)
        self.assertEqual((change.verb, change.version), ("create", 1))
        self.assertEqual((change.before, change.after), (None, None))
        self.assertEqual(change.record_type, "contact")
        self.assertEqual(change.change_set.actor, self.cast.alice)
        self.assertEqual(contact.version, 1)

    def test_who_creates_a_record_owns_it(self):
        self.assertEqual(self.make().owner, self.cast.alice)

    def test_the_system_creates_for_nobody(self):
        contact = Contact()
        with system_changes(self.cast.organization) as changes:
            changes.save(contact, last_name="King")
        self.assertIsNone(self.stored(contact).owner)
        self.assertIsNone(self.changes_of(contact)[0].change_set.actor)

    def test_a_new_record_is_of_the_actors_organization_whatever_it_says(self):
        contact = Contact(organization=self.cast.other_organization)
        with self.open() as changes:
            changes.save(contact, last_name="King")
        self.assertEqual(self.stored(contact).organization, self.cast.organization)
        rows = [Contact(last_name="Boole", organization=self.cast.other_organization)]
        with self.open() as changes:
            changes.bulk_create(Contact, rows)
        self.assertEqual(self.stored(rows[0]).organization, self.cast.organization)

    def test_what_is_completed_is_part_of_the_making(self):
        contact = Contact()
        with self.open() as changes:
            changes.save(contact, last_name="King")
            changes.complete([contact], owner=self.cast.bob)
        stored = self.stored(contact)
        self.assertEqual((stored.owner, stored.version), (self.cast.bob, 1))
        [change] = self.changes_of(contact)
        made = history.created_values(stored, change)
        self.assertEqual(made["owner"], str(self.cast.bob.pk))

    def test_only_what_was_made_just_now_can_be_completed(self):
        contact = self.make()
        with self.open() as changes, self.assertRaises(TypeError):
            changes.complete([contact], owner=self.cast.bob)
        self.assertEqual(self.stored(contact).owner, self.cast.alice)

    def test_an_invalid_creation_leaves_neither_row_nor_journal(self):
        before = ChangeSet.objects.count()
        with self.assertRaises(ValidationError) as caught, self.open() as changes:
            changes.save(Contact(), last_name="King", email="nonsense")
        self.assertEqual(set(caught.exception.error_dict), {"email"})
        self.assertFalse(Contact.objects.exists())
        self.assertEqual(ChangeSet.objects.count(), before)

    # Changing

    def test_an_update_writes_the_given_and_the_derived_fields_only(self):
        contact = self.make(first_name="Ada", phone="(415) 555-2671")
        elsewhere = self.stored(contact)
        elsewhere.first_name = "Somebody"  # in memory; nobody asked to save it
        with self.open() as changes:
            changed = changes.save(elsewhere, phone="(415) 555-2672")
        self.assertIs(changed, True)
        stored = self.stored(contact)
        self.assertEqual(stored.first_name, "Ada")
        self.assertEqual(stored.phone_e164, "+14155552672")
        change = self.changes_of(contact)[-1]
        self.assertEqual(
            (change.verb, change.version, change.before, change.after),
            (
                "update",
                2,
                {"phone": "(415) 555-2671", "phone_e164": "+14155552671"},
                {"phone": "(415) 555-2672", "phone_e164": "+14155552672"},
            ),
        )

    def test_an_update_counts_the_version_and_tells_when(self):
        contact = self.make()
        before = contact.updated_at
        with self.open() as changes:
            changes.save(contact, job_title="Countess")
        stored = self.stored(contact)
        self.assertEqual(stored.version, 2)
        self.assertGreater(stored.updated_at, before)
        self.assertEqual(stored.created_at, contact.created_at)

    def test_what_changes_nothing_writes_nothing(self):
        contact = self.make(tags=["vip"])
        sets = ChangeSet.objects.count()
        with self.open() as changes:
            changed = changes.save(contact, last_name="King", tags=["vip"])
        self.assertIs(changed, False)
        self.assertEqual(self.stored(contact).version, 1)
        self.assertEqual(self.stored(contact).updated_at, contact.updated_at)
        self.assertEqual(len(self.changes_of(contact)), 1)
        self.assertEqual(ChangeSet.objects.count(), sets)

    def test_a_change_set_of_no_changes_has_no_row(self):
        sets = ChangeSet.objects.count()
        with self.open():
            pass
        self.assertEqual(ChangeSet.objects.count(), sets)

    def test_several_writes_are_one_change_set_with_its_reason(self):
        contact = self.make()
        with self.open(reason="Tidying", request_id="r-1") as changes:
            changes.save(contact, job_title="Countess")
            changes.save(contact, job_title="Mathematician")
            changes.delete(contact)
        made = changes.change_set
        self.assertEqual((made.reason, made.request_id), ("Tidying", "r-1"))
        self.assertEqual(
            [(c.verb, c.version) for c in made.changes.all()],
            [("update", 2), ("update", 3), ("delete", 4)],
        )

    def test_a_record_that_somebody_else_changed_is_stale(self):
        contact = self.make()
        mine, theirs = self.stored(contact), self.stored(contact)
        with self.open() as changes:
            changes.save(theirs, job_title="Countess")
        with self.assertRaises(StaleRecord), self.open() as changes:
            changes.save(mine, job_title="Mathematician")
        self.assertEqual(self.stored(contact).job_title, "Countess")
        self.assertEqual(len(self.changes_of(contact)), 2)

    def test_delete_and_restore_of_a_stale_record_are_refused_too(self):
        contact = self.make()
        mine, theirs = self.stored(contact), self.stored(contact)
        with self.open() as changes:
            changes.save(theirs, job_title="Countess")
        with self.assertRaises(StaleRecord), self.open() as changes:
            changes.delete(mine)
        self.assertIsNone(self.stored(contact).deleted_at)

    def test_an_error_in_the_block_takes_all_of_it_back(self):
        contact = self.make()
        sets, rows = ChangeSet.objects.count(), Change.objects.count()
        with self.assertRaises(ZeroDivisionError), self.open() as changes:
            changes.save(contact, job_title="Countess")
            changes.save(Contact(), last_name="Boole")
            raise ZeroDivisionError
        self.assertEqual(self.stored(contact).job_title, "")
        self.assertEqual(Contact.objects.count(), 1)
        self.assertEqual(
            (ChangeSet.objects.count(), Change.objects.count()), (sets, rows)
        )

    def test_a_rolled_back_transaction_around_the_block_takes_it_back(self):
        contact = self.make()
        with transaction.atomic():
            with self.open() as changes:
                changes.save(contact, job_title="Countess")
            transaction.set_rollback(True)
        self.assertEqual(self.stored(contact).job_title, "")
        self.assertEqual(len(self.changes_of(contact)), 1)

    def test_fields_that_nobody_touched_may_hold_what_is_not_valid_any_more(self):
        contact = self.make()
        Contact._base_manager.filter(pk=contact.pk).update(website="not a link")
        with self.open() as changes:
            changes.save(self.stored(contact), job_title="Countess")
        self.assertEqual(self.stored(contact).job_title, "Countess")

    # Secrets

    def test_a_password_is_never_in_the_journal(self):
        user = make_user(
            self.cast.organization,
            "dave",
            self.cast.alice.role,
            password="correct-horse-battery",
        )
        with system_changes(self.cast.organization) as changes:
            user.set_password("another-horse-battery")
            self.assertIs(changes.save(user, password=user.password), False)
            changes.save(user, first_name="David")
        self.assertNotIn("password", snapshot(user))
        for change in self.changes_of(user):
            values = f"{change.before} {change.after}"
            self.assertNotIn("password", values)
            self.assertNotIn(user.password, values)
        [entry] = [
            history.entry(c, user, None)
            for c in self.changes_of(user)
            if c.verb == "create"
        ]
        self.assertFalse({"password", "last_login"} & entry["after"].keys())

    def test_secrets_may_be_saved_alone_and_nothing_else(self):
        user = self.cast.alice
        user.set_password("another-horse-battery")
        user.save(update_fields=["password"])
        self.assertTrue(
            User.objects.get(pk=user.pk).check_password("another-horse-battery")
        )
        user.save()
        user.first_name = "Augusta"
        for fields in (["email"], ["password", "email"], None):
            with self.subTest(fields), self.assertRaises(TypeError):
                user.save(update_fields=fields)

    # The one way to write

    def test_records_refuse_every_other_way_to_be_written(self):
        contact = self.make()
        new = Contact(organization=self.cast.organization, last_name="Boole")
        contact.job_title = "Countess"
        ways = {
            "save": contact.save,
            "save of a new one": new.save,
            "delete": contact.delete,
            "create": lambda: Contact.objects.create(
                organization=self.cast.organization, last_name="Boole"
            ),
            "get_or_create": lambda: Contact.objects.get_or_create(
                organization=self.cast.organization, last_name="Boole"
            ),
            "update": lambda: Contact.objects.update(job_title="Countess"),
            "update of some": lambda: Contact.objects.filter(pk=contact.pk).update(
                job_title="Countess"
            ),
            "bulk_update": lambda: Contact.objects.bulk_update(
                [contact], ["job_title"]
            ),
            "bulk_create": lambda: Contact.objects.bulk_create([new]),
            "delete of all": lambda: Contact.objects.all().delete(),
        }
        for name, way in ways.items():
            with self.subTest(name), self.assertRaises(TypeError), transaction.atomic():
                way()
        self.assertEqual(Contact.objects.get().job_title, "")

    def test_people_teams_and_roles_refuse_it_as_well(self):
        for model in (User, type(self.cast.team), type(self.cast.alice.role)):
            rows = list(model.objects.values())
            with self.subTest(model.__name__):
                with self.assertRaises(TypeError), transaction.atomic():
                    model.objects.filter(pk=rows[0]["id"]).update(version=9)
                with self.assertRaises(TypeError), transaction.atomic():
                    model.objects.filter(pk=rows[0]["id"]).delete()
                with self.assertRaises(TypeError):
                    model.objects.first().delete()
                self.assertEqual(list(model.objects.values()), rows)

    # Many at once

    def test_rows_made_in_bulk_are_journalled_each(self):
        rows = [Contact(last_name=f"King {n}") for n in range(3)]
        with self.open() as changes:
            changes.bulk_create(Contact, rows)
        made = changes.change_set.changes.order_by("id")
        self.assertEqual([c.record_id for c in made], [row.pk for row in rows])
        self.assertEqual({(c.verb, c.version) for c in made}, {("create", 1)})
        self.assertEqual(Contact.objects.count(), 3)

    def test_rows_changed_in_bulk_are_journalled_each_with_its_own_fields(self):
        first = self.make(last_name="King")
        second = self.make(last_name="Boole", job_title="Clerk")
        updates = [(first, snapshot(first)), (second, snapshot(second))]
        first.last_name = "Lovelace"
        second.job_title = "Professor"
        with self.open() as changes:
            changes.bulk_update(Contact, updates)
        self.assertEqual(
            [
                (c.record_id, c.verb, c.version, c.before, c.after)
                for c in changes.change_set.changes.order_by("id")
            ],
            [
                (
                    first.pk,
                    "update",
                    2,
                    {"last_name": "King"},
                    {"last_name": "Lovelace"},
                ),
                (
                    second.pk,
                    "update",
                    2,
                    {"job_title": "Clerk"},
                    {"job_title": "Professor"},
                ),
            ],
        )
        first, second = self.stored(first), self.stored(second)
        self.assertEqual((first.last_name, first.version), ("Lovelace", 2))
        self.assertEqual((second.last_name, second.job_title), ("Boole", "Professor"))
        self.assertEqual(Contact.objects.count(), 2)

    def test_nothing_in_bulk_is_nothing_in_the_journal(self):
        sets = ChangeSet.objects.count()
        with self.open() as changes:
            changes.bulk_create(Contact, [])
            changes.bulk_update(Contact, [])
        self.assertEqual(ChangeSet.objects.count(), sets)

    # Rights, even where a caller forgot them

    def test_a_change_set_checks_the_actors_rights_itself(self):
        contact = self.make()
        tries = {
            "save": lambda changes: changes.save(contact, job_title="Countess"),
            "delete": lambda changes: changes.delete(contact),
            "restore": lambda changes: changes.restore(contact),
        }
        for user in (self.cast.bob, self.cast.stranger, self.cast.reader):
            for name, write in tries.items():
                with self.subTest(f"{user}: {name}"):
                    with self.assertRaises(PermissionDenied), self.open(user) as c:
                        write(c)
                    stored = self.stored(contact)
                    self.assertEqual((stored.version, stored.job_title), (1, ""))
        with self.assertRaises(PermissionDenied), self.open(self.cast.reader) as c:
            c.save(Contact(), last_name="Boole")
        self.assertEqual(Contact.objects.count(), 1)

    def test_a_right_to_everything_ends_at_the_organization(self):
        contact = self.make(self.cast.carol)
        for name in ("save", "delete"):
            with self.subTest(name):
                with (
                    self.assertRaises((StaleRecord, PermissionDenied)),
                    self.open(self.cast.manager) as changes,
                ):
                    fields = {"job_title": "Countess"} if name == "save" else {}
                    getattr(changes, name)(self.stored(contact), **fields)
                self.assertEqual(self.stored(contact).version, 1)

    def test_whoever_may_not_assign_makes_no_record_for_others(self):
        with self.assertRaises(PermissionDenied), self.open() as changes:
            changes.save(Contact(), last_name="King", owner=self.cast.bob)
        self.assertFalse(Contact.objects.exists())
        contact = self.make()
        with self.assertRaises(PermissionDenied), self.open() as changes:
            changes.save(contact, owner=self.cast.bob)
        self.assertEqual(self.stored(contact).owner, self.cast.alice)

    def test_whoever_may_not_assign_does_not_give_a_record_up_either(self):
        contact = self.make()
        with self.assertRaises(PermissionDenied), self.open() as changes:
            changes.save(contact, owner=None)
        self.assertEqual(self.stored(contact).owner, self.cast.alice)

    def test_an_inactive_actor_may_nothing(self):
        role = make_role(self.cast.organization, "left", OWN)
        dave = make_user(self.cast.organization, "dave", role, is_active=False)
        with self.assertRaises(PermissionDenied), self.open(dave) as changes:
            changes.save(Contact(), last_name="King")
        self.assertFalse(Contact.objects.exists())

    # The past

    def test_what_a_record_was_made_with_is_told_after_any_number_of_edits(self):
        contact = self.make(first_name="Ada", tags=["vip"])
        creation = self.changes_of(contact)[0]
        at_first = history.entry(creation, contact, None)["after"]
        self.assertEqual(
            (at_first["first_name"], at_first["tags"], at_first["owner"]),
            ("Ada", ["vip"], str(self.cast.alice.pk)),
        )
        with self.open() as changes:
            changes.save(contact, first_name="Augusta", job_title="Countess")
        with self.open() as changes:
            changes.save(contact, first_name="", tags=[])
        with self.open() as changes:
            changes.delete(contact)
        self.assertEqual(
            history.entry(creation, self.stored(contact), None)["after"], at_first
        )
