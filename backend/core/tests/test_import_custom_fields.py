"""Custom fields as columns of imported files."""

from unittest import mock

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from contact_management.models import Company, Contact
from core import jobs
from core.custom_fields import definitions
from core.exporting.job import file_of
from core.models import Change, ChangeSet, CustomField, Job
from core.testing import ALL, client_of, make_role, make_user, system_changes
from core.tests.test_imports import ImportTestCase

CHOICES = [{"value": "gold", "label": "Gold, pure"}, {"value": "tin", "label": "Tin"}]
KINDS = (
    *("text", "number", "money", "date", "choice", "multi_choice", "boolean"),
    *("link", "user"),
)


class CustomFieldImportTestCase(ImportTestCase):
    def define(self, key, kind="text", organization=None, **values) -> CustomField:
        field = CustomField()
        organization = organization or self.cast.organization
        if "choice" in kind:
            values.setdefault("choices", CHOICES)
        values = {"label": key, "applies_to": "contact", **values}
        with system_changes(organization) as changes:
            changes.save(field, key=key, kind=kind, **values)
        definitions.forget(self.cast.alice.organization)
        return field

    def make(self, email="ada@example.com", **custom_fields) -> Contact:
        contact = Contact(owner=self.cast.alice)
        with system_changes(self.cast.organization) as changes:
            changes.save(contact, email=email, custom_fields=custom_fields)
        return contact

    def values(self, email="ada@example.com") -> dict:
        return Contact.objects.live().get(email=email).custom_fields

    def preview(self, text, client=None, record_type="contact", **fields):
        file = SimpleUploadedFile("people.csv", text.encode())
        body = {"file": file, "record_type": record_type, **fields}
        client = client or self.alice
        return client.post("/api/imports/preview/", body, format="multipart")

    def suggested(self, text, **kwargs) -> dict:
        shown = self.preview(text, **kwargs).json()
        return {column["name"]: column["target"] for column in shown["columns"]}

    def told(self, shown) -> list[tuple]:
        return [(e["line"], e["column"], e["code"]) for e in shown["errors"]]


class CustomFieldMappingTests(CustomFieldImportTestCase):
    def test_names_keys_and_labels_are_known_headers(self):
        self.define("shoe_size", "number", label="Größe (Schuh)")
        for header in ("custom_fields.shoe_size", "Shoe Size", "größe schuh"):
            with self.subTest(header):
                self.assertEqual(
                    self.suggested(f"Email,{header}\na@x.com,4\n"),
                    {"Email": "email", header: "custom_fields.shoe_size"},
                )

    def test_a_header_of_the_type_itself_is_never_taken_by_a_label(self):
        self.define("city", label="E-mail")
        self.define("whole", label="Full name")
        self.assertEqual(
            self.suggested("E-mail,City,Full Name\na@x.com,Cork,Ada King\n"),
            {"E-mail": "email", "City": "city", "Full Name": "full_name"},
        )

    def test_a_column_named_after_another_custom_field_is_never_guessed(self):
        self.define("region")
        self.define("region_2", is_archived=True)
        names = ("custom_fields.region_2", "custom_fields.regions")
        suggested = self.suggested(f"Email,{','.join(names)}\na@x.com,b,c\n")
        self.assertEqual(suggested, {"Email": "email", **dict.fromkeys(names)})
        response = self.post("Email,R\na@x.com,b\n", mapping={"R": names[0]})
        self.assertEqual(response.status_code, 400)
        [error] = response.json()["errors"]
        self.assertEqual((error["field"], error["code"]), ("mapping", "unknown_target"))

    def test_targets_tell_their_label_kind_and_choices(self):
        self.define("level", "choice", label="Level of care")
        self.define("remark", applies_to="company")
        targets = self.preview("Email\na@x.com\n").json()["targets"]
        self.assertEqual(
            [t for t in targets if t["name"].startswith("custom_fields")],
            [
                {
                    "name": "custom_fields.level",
                    "label": "Level of care",
                    "kind": "choice",
                    "choices": ["gold", "tin"],
                }
            ],
        )

    def test_a_mapping_that_goes_to_them_is_saved_and_used(self):
        field = self.define("size", "number")
        mapping = {"Post": "email", "S": "custom_fields.size"}
        self.run_import("Post,S\na@x.com,1\n", mapping=mapping, save_mapping_as="Mine")
        self.assertEqual(self.suggested("Post,S\nb@x.com,2\n"), mapping)
        with system_changes(self.cast.organization) as changes:
            changes.save(field, is_archived=True)
        definitions.forget(self.cast.alice.organization)
        again = self.suggested("Post,S\nb@x.com,2\n")
        self.assertEqual(again, {"Post": None, "S": None})

    def test_hidden_ones_are_as_if_they_were_not_there(self):
        self.define("size", "number")
        for hidden in ("custom_fields.size", "custom_fields"):
            with self.subTest(hidden):
                fields = {"contact": {"hidden": [hidden]}}
                role = make_role(self.cast.organization, hidden, ALL, fields)
                user = make_user(self.cast.organization, hidden[-4:], role)
                client = client_of(user)
                answer = self.preview("Email,size\na@x.com,4\n", client)
                self.assertNotIn("custom_fields", answer.content.decode())
                mapping = {"Email": "email", "size": "custom_fields.size"}
                response = self.post("Email,size\na@x.com,4\n", client, mapping=mapping)
                self.assertEqual(response.status_code, 400)
                body = {"name": "x", "applies_to": "contact", "columns": ["size"]}
                body["mapping"] = {"size": "custom_fields.size"}
                kept = client.post("/api/import-mappings/", body)
                self.assertEqual(kept.status_code, 400, kept.content)
        self.assertFalse(Contact.objects.exists())


class CustomFieldImportTests(CustomFieldImportTestCase):
    def test_each_kind_is_read_from_its_cell(self):
        for kind in KINDS:
            self.define(kind, kind)
        header = ",".join(["Email", *KINDS])
        shown = self.run_import(
            f'{header}\nada@example.com,a b,"1.234,5",12.50 EUR,31.12.2026,tin,'
            f"Tin; gold,yes,example.com,{self.cast.bob.email.upper()}\n"
        )
        self.assertEqual(shown["errors"], [])
        self.assertEqual(
            self.values(),
            {
                "text": "a b",
                "number": 1234.5,
                "money": {"amount": "12.50", "currency": "EUR"},
                "date": "2026-12-31",
                "choice": "tin",
                "multi_choice": ["tin", "gold"],
                "boolean": True,
                "link": "https://example.com",
                "user": str(self.cast.bob.pk),
            },
        )

    def test_a_percentage_is_the_figure_before_its_sign(self):
        self.define("share", "number")
        self.run_import("Email,share\nada@example.com,12.5 %\n")
        self.assertEqual(self.values(), {"share": 12.5})

    def test_a_wrong_cell_is_an_error_of_its_column_and_its_row_alone(self):
        self.define("size", "number", label="Size")
        self.define("level", "choice")
        shown = self.run_import(
            "Email,Size,level\na@x.com,big,gold\nb@x.com,2,lead\nada@example.com,3,\n"
        )
        self.assertEqual(
            self.told(shown),
            [(2, "Size", "not_a_number"), (3, "level", "invalid_choice")],
        )
        self.assertEqual(self.values(), {"size": 3})
        self.assertEqual(Contact.objects.count(), 1)
        answer = self.alice.get(f"/api/imports/{shown['id']}/error-file/")
        lines = b"".join(answer).decode("utf-8-sig").splitlines()
        self.assertEqual(
            lines[1], "2,not_a_number,Size: This is no number.,a@x.com,big,gold"
        )

    def test_an_update_changes_the_keys_of_its_columns_and_no_others(self):
        self.define("size", "number")
        self.define("level", "choice")
        self.define("remark")
        self.make(size=1, level="gold", remark="kept")
        text = "Email,size,level\nADA@example.com,2,\n"
        shown = self.run_import(text, mode="update")
        self.assertEqual(self.counts(shown), (0, 1, 0, 0))
        self.assertEqual(self.values(), {"size": 2, "level": "gold", "remark": "kept"})
        change = Change.objects.order_by("id").last()
        self.assertEqual(change.before, {"custom_fields": {"size": 1}})
        self.assertEqual(change.after, {"custom_fields": {"size": 2}})
        self.run_import(text, mode="upsert", blank="clear")
        self.assertEqual(self.values(), {"size": 2, "remark": "kept"})
        shown = self.run_import(text, mode="upsert", blank="clear")
        self.assertEqual(shown["skipped_because"], {"unchanged": 1})

    def test_what_is_required_must_be_given_and_is_not_cleared(self):
        self.make("old@example.com")
        self.define("size", "number", is_required=True)
        self.make(size=1)
        shown = self.run_import(
            "Email,City,size\nb@x.com,Cork,\nADA@example.com,Cork,\n"
            "OLD@example.com,Cork,\n",
            mode="upsert",
            blank="clear",
        )
        self.assertEqual(
            self.told(shown), [(2, "size", "required"), (3, "size", "required")]
        )
        self.assertEqual(self.values(), {"size": 1})
        # It never had one, and its other values can change.
        self.assertEqual(Contact.objects.get(email="old@example.com").city, "Cork")
        shown = self.run_import("Email,City\nb@x.com,Cork\n")
        [error] = shown["errors"]
        self.assertEqual(error["column"], "")
        self.assertEqual(
            error["message"], "custom_fields.size: This field is required."
        )

    def test_rows_of_one_record_add_up(self):
        self.define("size", "number")
        self.define("remark")
        for dry_run in (True, False):
            shown = self.run_import(
                "Email,size,remark\na@x.com,1,\na@x.com,,b\na@x.com,2,\na@x.com,2,b\n",
                mode="upsert",
                dry_run=dry_run,
            )
            self.assertEqual(self.counts(shown), (1, 2, 1, 0))
            self.assertIs(Contact.objects.exists(), not dry_run)
        self.assertEqual(self.values("a@x.com"), {"size": 2, "remark": "b"})

    def test_a_dry_run_in_chunks_tells_the_same_and_changes_nothing(self):
        self.define("size", "number")
        self.make(size=1)
        self.chunks_of(1)
        text = "Email,size\nada@example.com,2\nada@example.com,x\nada@example.com,2\n"
        found = []
        for dry_run in (True, False):
            shown = self.run_import(text, mode="upsert", dry_run=dry_run)
            found.append((self.counts(shown), self.told(shown)))
            self.assertEqual(self.values(), {"size": 1 if dry_run else 2})
        self.assertEqual(found, [((0, 1, 1, 1), [(3, "size", "not_a_number")])] * 2)

    def test_a_field_that_the_role_may_only_read_takes_no_new_value(self):
        self.define("size", "number")
        self.define("remark")
        self.make(size=1)
        fields = {"contact": {"read_only": ["custom_fields.size"]}}
        role = make_role(self.cast.organization, "clerk", ALL, fields)
        client = client_of(make_user(self.cast.organization, "clerk", role))
        shown = self.run_import(
            "Email,size,remark\nada@example.com,2,a\nb@x.com,3,b\nada@example.com,1,c\n",
            client,
            mode="upsert",
        )
        self.assertEqual(
            self.told(shown),
            [(2, "size", "field_read_only"), (3, "size", "field_read_only")],
        )
        self.assertEqual(self.values(), {"size": 1, "remark": "c"})
        self.assertEqual(Contact.objects.count(), 1)

    def test_a_required_field_that_the_role_does_not_see_is_not_named(self):
        self.define("secret_one", is_required=True)
        fields = {"contact": {"hidden": ["custom_fields.secret_one"]}}
        role = make_role(self.cast.organization, "clerk", ALL, fields)
        client = client_of(make_user(self.cast.organization, "clerk", role))
        shown = self.run_import("Email\nb@x.com\n", client)
        self.assertEqual(self.told(shown), [(2, "", "hidden_field")])
        self.assertNotIn("secret_one", str(shown))

    def test_each_chunk_goes_by_the_definitions_of_then(self):
        field = self.define("level", "choice")
        self.chunks_of(1)
        job = self.submit("Email,level\na@x.com,gold\nb@x.com,iron\nc@x.com,gold\n")
        step = jobs.HANDLERS["import"].step

        def redefine(handler, job):
            with system_changes(self.cast.organization) as changes:
                if job.done == 1:
                    iron = [{"value": "iron", "label": "Iron"}, *CHOICES]
                    changes.save(field, choices=iron)
                if job.done == 2:
                    changes.save(field, is_archived=True)
            return step(handler, job)

        with mock.patch.object(jobs.HANDLERS["import"], "step", redefine):
            jobs.run(job.pk)
        shown = self.alice.get(f"/api/imports/{job.pk}/").json()
        self.assertEqual(self.told(shown), [(4, "level", "unknown_field")])
        self.assertEqual(self.values("a@x.com"), {"level": "gold"})
        self.assertEqual(self.values("b@x.com"), {"level": "iron"})

    def test_undo_restores_them(self):
        self.define("size", "number")
        self.define("remark")
        self.make(size=1, remark="before")
        text = "Email,size,remark\nada@example.com,2,after\nb@x.com,3,new\n"
        shown = self.run_import(text, mode="upsert")
        with system_changes(self.cast.organization) as changes:
            contact = Contact.objects.get(email="ada@example.com")
            changes.save(contact, custom_fields={"size": 2, "remark": "edited"})
        change_set = ChangeSet.objects.get(pk=shown["change_set"])
        undone = self.alice.post(
            f"/api/change-sets/{change_set.pk}/undo/", {"partial": True}
        )
        self.assertEqual(undone.status_code, 200, undone.content)
        self.assertEqual(self.values(), {"size": 1, "remark": "edited"})
        self.assertFalse(Contact.objects.live().filter(email="b@x.com").exists())

    def test_companies_have_theirs(self):
        self.define("size", "number", label="Rooms", applies_to="company")
        self.run_import("name,Rooms\nEngines,12\n", record_type="company")
        self.assertEqual(Company.objects.get().custom_fields, {"size": 12})

    def test_they_take_no_more_queries_for_many_rows(self):
        for kind in KINDS:
            self.define(kind, kind)
        counts = []
        for total in (20, 60):
            header = ",".join(["Email", *KINDS])
            cells = f"x,1,1 EUR,2026-01-01,tin,tin;gold,no,x.com,{self.cast.bob.email}"
            rows = [f"{total}-{n}@x.com,{cells}" for n in range(total)]
            job = self.submit("\n".join([header, *rows]))
            with CaptureQueriesContext(connection) as queries:
                jobs.run(job.pk)
            job.refresh_from_db()
            self.assertEqual(job.counts["created"], total)
            asked = [q["sql"] for q in queries]
            asked = [
                s for s in asked if "core_customfield" in s or "management_user" in s
            ]
            counts.append(len(asked))
        self.assertEqual(counts[0], counts[1])


class CustomFieldRoundTripTests(CustomFieldImportTestCase):
    # What each kind may hold that a file could change.
    texts = (
        *("=1+1", "'=1+1", " spaces ", "a\nb", "007", "1e5", "TRUE", "[1]", "3.0"),
        *("2026-01-02", "-", "'", "Ñandú 数", "a;b,c"),
    )
    numbers = (0, -5, 3.0, 2.5, 1e-07, 123456789012345678, 1e18, 0.1)
    amounts = ("12.50", "007.5", "-0", "1234567.8901", "1000")

    def fill(self):
        for kind in KINDS:
            self.define(kind, kind)
        records = [
            *({"text": text} for text in self.texts),
            *({"number": number} for number in self.numbers),
            *({"money": {"amount": a, "currency": "EUR"}} for a in self.amounts),
            {"date": "2026-12-31", "choice": "gold", "boolean": False},
            {"multi_choice": ["tin", "gold"], "boolean": True},
            {"link": "https://x.com/a?b=1,2;3", "user": str(self.cast.bob.pk)},
        ]
        for number, values in enumerate(records):
            self.make(f"{number}@x.com", **values)
        return len(records)

    def exported(self, kind, client) -> bytes:
        body = {"record_type": "contact", "format": kind}
        response = client.post("/api/exports/", body)
        self.assertEqual(response.status_code, 202, response.content)
        with mock.patch.object(jobs, "PAUSE_SECONDS", 0):
            jobs.run(response.json()["id"])
        return file_of(Job.objects.get(pk=response.json()["id"]).pk).read_bytes()

    def test_an_export_is_imported_unchanged(self):
        count = self.fill()
        manager = client_of(self.cast.manager)
        before = Change.objects.count()
        for kind in ("csv", "xlsx"):
            content = self.exported(kind, manager)
            for blank in ("ignore", "clear"):
                with self.subTest(kind=kind, blank=blank):
                    shown = self.run_import(
                        content, manager, mode="upsert", match="id", blank=blank
                    )
                    self.assertEqual(shown["errors"], [])
                    self.assertEqual(shown["skipped_because"], {"unchanged": count})
                    targets = set(shown["mapping"].values())
                    self.assertLessEqual({f"custom_fields.{k}" for k in KINDS}, targets)
        self.assertEqual(Change.objects.count(), before)

    def test_what_stood_there_before_its_definition_stands_unchanged(self):
        self.make(size="huge", level="lead", day="2026-02-30", remark=[{"a": 1}])
        for key, kind in (("size", "number"), ("level", "choice"), ("day", "date")):
            self.define(key, kind)
        self.define("remark")
        manager = client_of(self.cast.manager)
        before = self.values()
        for kind in ("csv", "xlsx"):
            with self.subTest(kind):
                shown = self.run_import(
                    self.exported(kind, manager), manager, mode="upsert"
                )
                self.assertEqual(shown["errors"], [])
                self.assertEqual(shown["skipped_because"], {"unchanged": 1})
        self.assertEqual(self.values(), before)

    def test_in_another_organization_the_same_values_are_made(self):
        count = self.fill()
        there = self.cast.carol.organization
        for kind in KINDS:
            self.define(kind, kind, there)
        content = self.exported("xlsx", client_of(self.cast.manager))
        definitions.forget(there)
        mapping = {"email": "email"}
        mapping |= {f"custom_fields.{k}": f"custom_fields.{k}" for k in KINDS}
        shown = self.run_import(content, client_of(self.cast.carol), mapping=mapping)
        # bob is no user there.
        self.assertEqual(
            [(e["column"], e["code"]) for e in shown["errors"]],
            [("custom_fields.user", "does_not_exist")],
        )
        made = Contact.objects.filter(organization=there)
        found = dict(made.values_list("email", "custom_fields"))
        self.assertEqual(len(found), count - 1)
        wanted = dict(
            Contact.objects.filter(email__in=found)
            .exclude(organization=there)
            .values_list("email", "custom_fields")
        )
        for values in wanted.values():
            # What a cell cannot tell: blanks around it, and zeros before it.
            if "text" in values:
                values["text"] = values["text"].strip()
            if "money" in values:
                amount = {"007.5": "7.5"}.get(values["money"]["amount"])
                values["money"]["amount"] = amount or values["money"]["amount"]
        self.assertEqual(found, wanted)
