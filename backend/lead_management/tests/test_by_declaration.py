"""What leads and deals have by their declaration, as contacts have it."""

import csv
import io

from core import jobs
from core.exporting.job import file_of
from core.models import Job
from core.testing import client_of
from core.tests.test_imports import ImportTestCase

CSV, XLSX = "csv", "xlsx"


class ByDeclaration:
    """For each type: a file of another program, and what becomes of its rows."""

    record_type: str
    path: str
    text: str
    # The targets that are suggested, by column; and fields of the first record.
    suggested: dict
    first: dict
    # The name of the first record with a slip of the pen.
    misspelt: str
    # What all records get in bulk, but for so many.
    change: dict
    closed: int

    def setUp(self):
        super().setUp()
        self.manager = client_of(self.cast.manager)

    def run_import(self, text, client=None, **fields):
        fields = {"record_type": self.record_type, **fields}
        return super().run_import(text, client or self.manager, **fields)

    def listed(self, client=None, **query) -> list[dict]:
        query = {"ordering": "created_at", **query}
        return (client or self.manager).get(self.path, query).json()["results"]

    def exported(self, form) -> bytes:
        asked = self.manager.post(
            "/api/exports/", {"record_type": self.record_type, "format": form}
        )
        self.assertEqual(asked.status_code, 202, asked.content)
        job = Job.objects.get(pk=asked.json()["id"])
        self.addCleanup(file_of(job.pk).unlink, missing_ok=True)
        while jobs.run(job.pk):
            pass
        answer = self.manager.get(f"/api/exports/{job.pk}/download/")
        return b"".join(answer.streaming_content)

    def bulk(self, **change) -> dict:
        body = {"filter": {}, "change": change}
        job = self.manager.post(f"{self.path}bulk/", body)
        self.assertEqual(job.status_code, 202, job.content)
        jobs.run(job.json()["id"])
        job = self.manager.get(f"/api/jobs/{job.json()['id']}/").json()
        return {name: count for name, count in job["counts"].items() if count}

    def test_columns_of_other_programs_find_their_fields(self):
        body = {"record_type": self.record_type}
        answer = self.post(self.text, self.manager, **body, query="preview/")
        self.assertEqual(answer.status_code, 200, answer.content)
        columns = answer.json()["columns"]
        self.assertEqual({c["name"]: c["target"] for c in columns}, self.suggested)

    def test_a_file_is_imported_and_exported_and_imports_back_unchanged(self):
        count = self.text.count("\n") - 1
        self.assertCounts(self.run_import(self.text), count, 0, 0, 0)
        before = self.listed()
        self.assertEqual({n: before[0][n] for n in self.first}, self.first)
        for form in (CSV, XLSX):
            with self.subTest(form):
                content = self.exported(form)
                options = {"name": f"file.{form}", "mode": "upsert", "match": "id"}
                shown = self.run_import(content, **options)
                self.assertCounts(shown, 0, 0, count, 0)
                self.assertEqual(self.listed(), before)

    def test_an_exported_file_makes_the_same_records_elsewhere(self):
        self.run_import(self.text)
        content = self.exported(CSV)
        carol = client_of(self.cast.carol)
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
        self.assertCounts(self.run_import(content, carol), len(rows), 0, 0, 0)
        here, there = self.listed(), self.listed(carol)
        self.assertEqual(
            [{n: r[n] for n in self.first} for r in there],
            [{n: r[n] for n in self.first} for r in reversed(here)],
        )

    def test_records_are_found_by_a_misspelt_name(self):
        self.run_import(self.text)
        found = self.manager.get("/api/search/", {"q": self.misspelt}).json()
        self.assertEqual(
            [(hit["record_type"], hit["id"]) for hit in found["results"]],
            [(self.record_type, self.listed()[0]["id"])],
        )

    def test_bulk_changes_fields_tags_and_owner_and_deletes(self):
        self.run_import(self.text)
        owner, count = str(self.cast.alice.pk), len(self.listed())
        counts = self.bulk(set=self.change, add_tags=["VIP"], owner=owner)
        changed = count - self.closed
        self.assertEqual((counts["matched"], counts["changed"]), (count, changed))
        wanted = {**self.change, "tags": ["VIP"], "owner": owner}
        now = [{name: r[name] for name in wanted} for r in self.listed()]
        self.assertEqual(now.count(wanted), changed)
        self.assertEqual(self.bulk(delete=True)["changed"], count)
        self.assertEqual(self.listed(), [])

    def test_a_row_finds_its_record_by_the_id_of_another_system(self):
        header, row, *_ = self.text.splitlines(keepends=True)
        text = f"external_ids.crm,{header}4711,{row}"
        options = {"mode": "upsert", "match": "external_ids.crm"}
        self.assertCounts(self.run_import(text, **options), 1, 0, 0, 0)
        self.assertCounts(self.run_import(text, **options), 0, 0, 1, 0)
        found = self.manager.get(f"{self.path}by/crm/4711/").json()
        self.assertEqual(found, self.listed()[0])
        undone = self.manager.put(f"{self.path}by/crm/4711/", {"notes": "Rang"})
        self.assertEqual((undone.status_code, undone.json()["notes"]), (200, "Rang"))


class LeadsByDeclaration(ByDeclaration, ImportTestCase):
    record_type = "lead"
    path = "/api/leads/"
    # As Salesforce exports them.
    text = (
        "FirstName,LastName,Company,Email,Title,Status,LeadSource,Rating,"
        "Annual Revenue,Converted,Converted Date,Description\n"
        "Serena,Patterfield,Hettinger and Sons,sp@example.com,VP,"
        'Open - Not Contacted,Web,Hot,"1,200.50",0,,Seen at the fair\n'
        "Ermin,Skitral,Skitral Household,es@example.com,,Closed - Converted,"
        "Partner Referral,,,1,2024-05-02,\n"
        "Tam,Leung,,tl@example.com,,Closed - Not Converted,,Cold,300,0,,\n"
    )
    suggested = {
        "FirstName": "first_name",
        "LastName": "last_name",
        "Company": "company_name",
        "Email": "email",
        "Title": "job_title",
        "Status": "status",
        "LeadSource": "lead_source",
        "Rating": "priority",
        "Annual Revenue": "estimated_value",
        "Converted": "is_converted",
        "Converted Date": "status_since",
        "Description": "notes",
    }
    first = {
        "first_name": "Serena",
        "last_name": "Patterfield",
        "company_name": "Hettinger and Sons",
        "job_title": "VP",
        "status": "new",
        "lead_source": "website",
        "priority": "high",
        "estimated_value": "1200.50",
        "currency": "USD",
        "notes": "Seen at the fair",
    }
    misspelt = "Paterfield"
    change = {"priority": "urgent"}
    closed = 1  # what is converted is left as it is


class DealsByDeclaration(ByDeclaration, ImportTestCase):
    record_type = "deal"
    path = "/api/deals/"
    # As HubSpot exports them.
    text = (
        "Deal Name,Deal Stage,Pipeline,Amount,Currency,Close Date,"
        "Associated Company,Company Domain,Closed Lost Reason,Deal owner\n"
        'Widgets for George,proposal,Sales,"$1,200.50",eur,2030-12-24 10:00,'
        "George Foundation,george.org,,alice@example.com\n"
        "Looms,Closed Won,,300,,2024-05-02,,,,\n"
        "Mills,Lost,Sales,,,2024-06-02,,,No budget,\n"
    )
    suggested = {
        "Deal Name": "name",
        "Deal Stage": "stage_name",
        "Pipeline": "pipeline_name",
        "Amount": "amount",
        "Currency": "currency",
        "Close Date": "expected_close_on",
        "Associated Company": "company_name",
        "Company Domain": "company_domain",
        "Closed Lost Reason": "reason",
        "Deal owner": "owner",
    }
    first = {
        "name": "Widgets for George",
        "amount": "1200.50",
        "currency": "EUR",
        "expected_close_on": "2030-12-24",
        "company_name": "George Foundation",
        "reason": "",
        "closed_at": None,
    }
    misspelt = "Wigets"
    change = {"notes": "Ask again"}
    closed = 0
