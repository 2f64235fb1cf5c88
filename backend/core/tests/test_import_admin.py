from django.core.files.uploadedfile import SimpleUploadedFile

from contact_management.models import Contact
from core import jobs
from core.models import ChangeSet, CustomField, ImportMapping, Job, Upload
from core.testing import PASSWORD, make_user, system_changes
from core.tests.test_imports import ImportTestCase
from user_management.models import Role
from user_management.services import create_organization

LIST = "/admin/contact_management/contact/"
IMPORT = f"{LIST}import/"
TEXT = "Post,Town\nada@example.com,London\nnonsense,Cork\nada@example.com,Ockham\n"


class ImportPagesTests(ImportTestCase):
    @classmethod
    def setUpTestData(cls):
        super().setUpTestData()
        cls.admin = create_organization("Royal Society", "admin@example.com", PASSWORD)
        roles = Role.objects.filter(organization=cls.admin.organization)
        cls.reader, cls.seller = (
            make_user(cls.admin.organization, name, roles.get(name=role), is_staff=True)
            for name, role in (("reader", "read_only"), ("seller", "sales_rep"))
        )

    def setUp(self):
        super().setUp()
        self.client.force_login(self.admin)

    def upload(self, text=TEXT):
        file = SimpleUploadedFile("people.csv", text.encode())
        return self.client.post(IMPORT, {"file": file})

    def choices(self, **fields) -> dict:
        return {
            "mode": "create",
            "blank": "ignore",
            "column_0": "email",
            "column_1": "city",
            **fields,
        }

    def test_the_list_leads_to_the_import_and_a_file_to_its_choices(self):
        self.assertContains(self.client.get(LIST), "import")
        self.assertEqual(self.client.get(IMPORT).status_code, 200)
        page = self.client.get(self.upload()["Location"])
        self.assertContains(page, "ada@example.com · nonsense")
        form = page.context["form"]
        self.assertEqual([c["target"] for c in form.columns], [None, "city"])
        self.assertFalse(Job.objects.exists())

    def test_it_is_tried_run_and_undone(self):
        address = self.upload()["Location"]
        tried = self.client.post(address, self.choices(**{"try": "1"}))
        jobs.run(Job.objects.get().pk)
        page = self.client.get(tried["Location"])
        self.assertContains(page, address)
        self.assertContains(page, "a row before it made its record")
        self.assertFalse(Contact.objects.exists())
        wish = self.choices(run="1", tags="fair", save_mapping_as="Fair")
        done = self.client.post(address, wish)
        job = Job.objects.get(params__dry_run=False)
        self.assertContains(self.client.get(done["Location"]), "refresh")
        jobs.run(job.pk)
        job.refresh_from_db()
        page = self.client.get(done["Location"])
        self.assertNotContains(page, "refresh")
        self.assertEqual(
            job.counts, {"created": 1, "updated": 0, "skipped": 1, "failed": 1}
        )
        self.assertEqual(self.rows("email", "tags"), [("ada@example.com", ["fair"])])
        self.assertEqual(ImportMapping.objects.get().name, "Fair")
        errors = self.client.get(f"{LIST}import/jobs/{job.pk}/error-file/")
        self.assertIn(b"nonsense", b"".join(errors.streaming_content))
        self.client.post(f"{LIST}import/jobs/{job.pk}/undo/")
        jobs.run(Job.objects.get(kind="undo").pk)
        self.assertFalse(Contact.objects.live().exists())
        self.assertTrue(ChangeSet.objects.get(pk=job.change_set_id).is_undone())

    def test_custom_fields_are_suggested_by_label_chosen_and_imported(self):
        with system_changes(self.admin.organization) as changes:
            size = {"applies_to": "contact", "key": "size", "label": "Shoe size"}
            changes.save(CustomField(), kind="number", **size)
        address = self.upload("Post,shoe SIZE\nada@example.com,38\n")["Location"]
        page = self.client.get(address)
        self.assertContains(page, "Shoe size")
        [_, column] = page.context["form"].columns
        self.assertEqual(column["target"], "custom_fields.size")
        self.client.post(address, self.choices(run="1", column_1="custom_fields.size"))
        jobs.run(Job.objects.get().pk)
        self.assertEqual(Contact.objects.get().custom_fields, {"size": 38})

    def test_what_is_wrong_is_said_on_the_page(self):
        page = self.upload("\1\2")
        self.assertContains(page, "not a text file")
        self.assertFalse(Upload.objects.exists())
        address = self.upload()["Location"]
        for wrong in (
            {"column_0": "", "column_1": ""},
            {"column_0": "x"},
            {"match": "shoe"},
            {"encoding": "klingon"},
            {"owner": str(self.cast.alice.pk)},
        ):
            with self.subTest(wrong):
                page = self.client.post(address, self.choices(run="1", **wrong))
                self.assertEqual(page.status_code, 200)
        self.assertFalse(Job.objects.exists())

    def test_another_look_takes_the_encoding(self):
        address = self.upload()["Location"]
        page = self.client.post(address, self.choices(look="1", encoding="utf-16"))
        self.assertEqual(page.status_code, 200)
        page = self.client.post(address, self.choices(look="1", encoding="cp1252"))
        self.assertContains(page, "cp1252")

    def test_others_see_nothing_of_it(self):
        address = self.upload()["Location"]
        self.client.post(address, self.choices(run="1"))
        job = Job.objects.get()
        for user, sees_list in ((self.reader, True), (self.seller, True)):
            self.client.force_login(user)
            self.assertEqual(
                self.client.get(LIST).status_code, 200 if sees_list else 403
            )
            self.assertEqual(self.client.get(address).status_code, 404)
            for page in ("", "error-file/", "undo/"):
                path = f"{LIST}import/jobs/{job.pk}/{page}"
                self.assertEqual(self.client.get(path).status_code, 404)
        self.client.force_login(self.reader)
        self.assertEqual(self.client.get(IMPORT).status_code, 403)
        self.assertEqual(Job.objects.count(), 1)
