from datetime import UTC, datetime

from django.db import DataError, connection
from django.test import TestCase

from contact_management.models import Contact
from core.models import Change, ChangeSet
from core.models.copying import WORTH_COPYING, insert, insert_values
from core.testing import Cast

ODD = (
    *("", " ", "a,b", '"', '""', "'", "\\", "\\N", "\\.", "NULL", ";", "\t", "%s"),
    *("\n", "\r", "\r\n", "two\nlines", "two\rlines", " around ", "\u2028", "\x85"),
    *("é", "\U0001f600", "\ufeff", 'said "so", twice', "\x1f", "-", "=1+1"),
)


class CopyTests(TestCase):
    """On PostgreSQL by COPY, elsewhere by INSERT: the rows are the same."""

    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def contacts(self, values) -> list[Contact]:
        """So many that they are worth a COPY."""
        values = [*values] * (WORTH_COPYING // len(values) + 1)
        return [
            Contact(organization=self.cast.organization, last_name="King", **fields)
            for fields in values
        ]

    def assertKept(self, contacts):
        insert(Contact, contacts)
        kept = Contact.objects.in_bulk()
        names = [field.attname for field in Contact._meta.concrete_fields]
        for contact in contacts:
            for name in names:
                found, wanted = getattr(kept[contact.pk], name), getattr(contact, name)
                self.assertEqual(found, wanted, name)

    def test_texts_of_all_kinds(self):
        self.assertKept(
            self.contacts([{"notes": odd, "job_title": odd} for odd in ODD])
        )

    def test_lists_and_objects(self):
        values = [{"tags": [odd], "external_ids": {odd: odd}} for odd in ODD]
        values += [{"tags": [], "other_emails": [{"value": "a", "label": ""}]}]
        values += [{"custom_fields": {"n": 1.5, "no": None, "is": True, "l": [[]]}}]
        self.assertKept(self.contacts(values))

    def test_numbers_and_truths_stay_apart(self):
        """To Python they are equal."""
        values = [{"custom_fields": {"n": 1}}, {"custom_fields": {"n": True}}]
        contacts = self.contacts(values)
        insert(Contact, contacts)
        kept = Contact.objects.in_bulk()
        for contact in contacts:
            found = kept[contact.pk].custom_fields["n"]
            self.assertIs(found is True, contact.custom_fields["n"] is True)

    def test_what_is_there_and_what_is_not(self):
        moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
        self.assertKept(
            self.contacts(
                [
                    {"owner": None, "deleted_at": moment},
                    {"owner": self.cast.alice, "deleted_at": None},
                ]
            )
        )

    def test_values_that_are_no_objects_yet(self):
        contact = self.contacts([{}])[0]
        organization = self.cast.organization
        change_set = ChangeSet.objects.create(organization=organization, source="api")
        names = (
            *("change_set_id", "organization_id", "record_type", "record_id"),
            *("verb", "version", "before", "after", "created_at"),
        )
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        before = (None, {}, {"name": 'A "b"\n'})
        rows = [
            (
                *(change_set.pk, organization.pk, "contact", contact.pk),
                *(Change.Verb.UPDATE, n + 1, before[n % 3], None, moment),
            )
            for n in range(WORTH_COPYING)
        ]
        insert_values(Change, names, rows)
        kept = Change.objects.filter(record_id=contact.pk).order_by("version")
        self.assertEqual(list(kept.values_list(*names)), rows)

    def test_a_value_that_the_database_does_not_take_is_told(self):
        contacts = self.contacts([{}])
        contacts[-1].version = 2**40
        if connection.vendor == "postgresql":
            with self.assertRaises(DataError):
                insert(Contact, contacts)
