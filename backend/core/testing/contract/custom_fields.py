from django.core.files.uploadedfile import SimpleUploadedFile

from core.jobs import run
from core.models import CustomField, Job
from core.testing.people import client_of, system_changes

from .base import Contract


class CustomFields(Contract):
    """Fields that the organization defines."""

    def define(self, key: str, kind: str, **values) -> CustomField:
        """A custom field of this record type, in alice's organization."""
        field = CustomField()
        record_type = self.model.record_type()
        values = {"label": key, "applies_to": record_type, **values}
        with system_changes(self.cast.organization) as changes:
            changes.save(field, key=key, kind=kind, **values)
        return field

    def test_a_custom_field_is_checked_found_sorted_told_and_undone(self):
        self.define("size", "number")
        big = self.make(n=1, custom_fields={"size": 10})
        small = self.make(n=2, custom_fields={"size": 9.5})
        none = self.make(n=3)
        for values, code in (
            ({"size": "10"}, "not_a_number"),
            ({"size": True}, "not_a_number"),
            ({"height": 1}, "unknown_field"),
        ):
            with self.subTest(values):
                [key] = values
                body = self.body(n=4, custom_fields=values)
                refused = self.alice.post(self.path, body)
                self.assertProblem(refused, 400, code, f"custom_fields.{key}")
                refused = self.alice.patch(self.address(big), {"custom_fields": values})
                self.assertProblem(refused, 400, code, f"custom_fields.{key}")
        self.assertEqual(self.model.objects.count(), 3)
        for query, found in (
            ({"custom_fields.size": "9.5"}, [small]),
            (
                {"custom_fields.size__gte": "9.5", "ordering": "created_at"},
                [big, small],
            ),
            ({"custom_fields.size__isnull": "true"}, [none]),
            ({"ordering": "custom_fields.size"}, [small, big, none]),
            ({"ordering": "-custom_fields.size", "cursor": ""}, [big, small, none]),
        ):
            with self.subTest(query):
                listed = self.alice.get(self.path, query)
                self.assertEqual(listed.json()["results"], found)
        self.alice.patch(self.address(big), {"custom_fields": {"size": 11}})
        [update, _] = self.alice.get(self.address(big, "history/")).json()["results"]
        self.assertEqual(update["before"], {"custom_fields": {"size": 10}})
        self.assertEqual(update["after"], {"custom_fields": {"size": 11}})
        self.alice.post(f"/api/change-sets/{update['change_set']['id']}/undo/")
        self.assertEqual(self.stored(big).custom_fields, {"size": 10})

    def test_a_custom_field_is_imported_and_taken_back(self):
        if not self.model.is_importable:
            self.skipTest("It is not imported.")
        self.define("size", "number", label="Shoe size")
        self.define("note_two", "text")
        custom = {"size": 10, "note_two": "kept"}
        record = self.make(n=1, custom_fields=custom)
        text = f"Id,Shoe size\n{record['id']},9.5\n"
        wish = {"record_type": self.model.record_type(), "mode": "update"}
        wish |= {"match": "id", "file": SimpleUploadedFile("f.csv", text.encode())}
        asked = client_of(self.cast.manager).post(
            "/api/imports/", wish, format="multipart"
        )
        self.assertEqual(asked.status_code, 202, asked.content)
        run(asked.json()["id"])
        self.assertEqual(self.stored(record).custom_fields, {**custom, "size": 9.5})
        change_set = Job.objects.get(pk=asked.json()["id"]).change_set
        client_of(self.cast.manager).post(f"/api/change-sets/{change_set.pk}/undo/")
        self.assertEqual(self.stored(record).custom_fields, custom)

    def test_a_bulk_change_of_a_custom_field_leaves_the_others(self):
        self.define("size", "number")
        self.define("note_two", "text")
        custom = {"size": 10, "note_two": "kept"}
        with_both = self.make(n=1, custom_fields=custom)
        with_none = self.make(n=2)
        for values in ({"size": 9}, {"size": None}):
            with self.subTest(values):
                size = {key: value for key, value in values.items() if value}
                change = {"set": {"custom_fields": values}}
                asked = self.alice.post(
                    f"{self.path}bulk/", {"filter": {}, "change": change}
                )
                self.assertEqual(asked.status_code, 202, asked.content)
                run(asked.json()["id"])
                found = [self.stored(r).custom_fields for r in (with_both, with_none)]
                self.assertEqual(found, [{"note_two": "kept", **size}, size])
                change_set = Job.objects.get(pk=asked.json()["id"]).change_set
                self.alice.post(f"/api/change-sets/{change_set.pk}/undo/")
                found = [self.stored(r).custom_fields for r in (with_both, with_none)]
                self.assertEqual(found, [custom, {}])
        for values, code in (
            ({"size": "9"}, "not_a_number"),
            ({"x": 1}, "unknown_field"),
        ):
            [key] = values
            change = {"set": {"custom_fields": values}}
            asked = self.alice.post(
                f"{self.path}bulk/", {"filter": {}, "change": change}
            )
            run(asked.json()["id"])
            job = Job.objects.get(pk=asked.json()["id"])
            self.assertEqual((job.counts["failed"], job.change_set), (2, None))
            self.assertEqual(
                {(e.column, e.code) for e in job.errors.all()},
                {(f"custom_fields.{key}", code)},
            )
