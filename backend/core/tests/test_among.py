from django.test import TestCase

from contact_management.models import Contact
from core.among import Among
from core.testing import Cast, system_changes


class AmongTests(TestCase):
    def test_rows_are_found_by_many_ids_in_one_parameter(self):
        cast = Cast()
        contacts = [Contact(last_name=name, owner=cast.alice) for name in "ABC"]
        with system_changes(cast.organization) as changes:
            for contact in contacts:
                changes.save(contact)
        a, _, c = (contact.pk for contact in contacts)
        for column, ids, names in (
            ("pk", [a, c], {"A", "C"}),
            ("pk", [], set()),
            ("owner", [cast.alice.pk], {"A", "B", "C"}),
        ):
            with self.subTest(column):
                found = Contact.objects.filter(Among(column, ids))
                self.assertEqual({c.last_name for c in found}, names)
                found = Contact.objects.exclude(Among(column, ids))
                self.assertEqual({c.last_name for c in found}, {*"ABC"} - names)
