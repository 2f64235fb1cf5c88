from datetime import timedelta

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from core import jobs
from core.exceptions import Conflict
from core.models import Change, Job
from core.models.values import snapshot, validate
from core.purge import purge_batch
from core.testing import Cast, RecordContract, client_of, system_changes
from lead_management.models import Deal, DealStay, Pipeline, Stage
from lead_management.models.deal import stages_of


class DealContract(RecordContract, TestCase):
    path = "/api/deals/"
    valid = {"name": "Engine {n}"}
    change = {"amount": "250.00"}


class DealContactContract(RecordContract, TestCase):
    path = "/api/deal-contacts/"
    valid = {}
    change = {"role": "decision maker"}
    needs = {
        "deal": ("/api/deals/", {"name": "Engine"}),
        "contact": ("/api/contacts/", {"last_name": "King"}),
    }


class DealTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.pipeline = Pipeline.objects.get(organization=cls.cast.organization)
        cls.stages = {stage["name"]: stage["id"] for stage in cls.pipeline.stages}

    def setUp(self):
        self.client = client_of(self.cast.alice)

    def make(self, **fields) -> dict:
        body = {"name": "Engine", **fields}
        if stage := self.stages.get(body.get("stage")):
            body["stage"] = stage
        answer = self.client.post("/api/deals/", body)
        self.assertEqual(answer.status_code, 201, answer.content)
        return answer.json()

    def patch(self, deal, status=200, client=None, headers=None, **fields) -> dict:
        if stage := self.stages.get(fields.get("stage")):
            fields["stage"] = stage
        client = client or self.client
        answer = client.patch(f"/api/deals/{deal['id']}/", fields, headers=headers)
        self.assertEqual(answer.status_code, status, answer.content)
        return answer.json()

    def get(self, deal) -> dict:
        return self.client.get(f"/api/deals/{deal['id']}/").json()

    def undo(self, deal, version=None, client=None):
        """Undo what made a version of the deal, the last if not given."""
        changes = Change.objects.filter(record_id=deal["id"])
        if version:
            changes = changes.filter(version=version)
        change_set = changes.latest("version").change_set
        return (client or self.client).post(f"/api/change-sets/{change_set.pk}/undo/")

    def stays(self, deal) -> list:
        """(stage, entered, left) of each stay of a deal, the first first."""
        answer = self.client.get(f"/api/deals/{deal['id']}/stays/")
        return [
            (s["stage"]["name"], s["entered_at"], s["left_at"]) for s in answer.json()
        ]

    def assertRefused(self, problem, field, code):
        self.assertEqual(
            [(e["field"], e["code"]) for e in problem["errors"]], [(field, code)]
        )


class DealTests(DealTestCase):
    def test_a_deal_starts_in_the_first_stage_and_the_currency_of_the_house(self):
        deal = self.make(amount="1200.5")
        self.assertEqual(deal["stage"], self.stages["Qualification"])
        self.assertEqual(deal["pipeline"], str(self.pipeline.pk))
        self.assertEqual((deal["amount"], deal["currency"]), ("1200.50", "USD"))
        self.assertIsNone(deal["probability"])
        self.assertEqual(self.get(deal), deal)
        self.assertEqual(self.make(currency="eur")["currency"], "EUR")

    def test_bad_values_are_named(self):
        for fields, field, code in (
            ({"amount": "-1"}, "amount", "min_value"),
            ({"amount": "1.005"}, "amount", "max_decimal_places"),
            ({"amount": "1" * 13}, "amount", "max_whole_digits"),
            ({"amount": "1e400"}, "amount", "max_digits"),
            ({"amount": "NaN"}, "amount", "invalid"),
            ({"currency": "XYZ"}, "currency", "invalid"),
            ({"probability": 101}, "probability", "max_value"),
            ({"expected_close_on": "soon"}, "expected_close_on", "invalid"),
            ({"stage": None}, "stage", "null"),
            ({"pipeline": str(self.pipeline.pk)}, "pipeline", "read_only"),
            ({"reason": "Price"}, "reason", "not_allowed"),
            ({"closed_at": "2026-01-01T00:00:00Z"}, "closed_at", "not_allowed"),
        ):
            with self.subTest(fields):
                answer = self.client.post("/api/deals/", {"name": "x", **fields})
                self.assertEqual(answer.status_code, 400, answer.content)
                self.assertRefused(answer.json(), field, code)
        self.assertFalse(Deal.objects.exists())

    def test_a_stage_of_another_organization_is_none(self):
        elsewhere = Pipeline.objects.get(organization=self.cast.other_organization)
        answer = self.client.post(
            "/api/deals/", {"name": "x", "stage": elsewhere.stages[0]["id"]}
        )
        self.assertRefused(answer.json(), "stage", "does_not_exist")

    def test_relations_expand(self):
        deal = self.make()
        shown = self.client.get(
            f"/api/deals/{deal['id']}/", {"expand": "stage,pipeline"}
        ).json()
        self.assertEqual(shown["stage"]["name"], "Qualification")
        self.assertEqual(shown["stage"]["probability"], 10)
        self.assertEqual(shown["pipeline"]["name"], "Sales")

    def test_lists_are_filtered_by_stage(self):
        self.make()
        proposal = self.make(stage="Proposal")
        found = self.client.get("/api/deals/", {"stage": proposal["stage"]}).json()
        self.assertEqual([d["id"] for d in found["results"]], [proposal["id"]])

    def test_a_deleted_company_is_cleared_and_comes_back(self):
        made = self.client.post("/api/companies/", {"name": "Lovelace & Co"})
        company = made.json()
        deal = self.make(company=company["id"])
        self.client.delete(f"/api/companies/{company['id']}/")
        self.assertIsNone(self.get(deal)["company"])
        self.client.post(f"/api/companies/{company['id']}/restore/")
        self.assertEqual(self.get(deal)["company"], company["id"])
        self.assertEqual(len(self.stays(deal)), 1)

    def test_the_part_of_a_contact_goes_with_either(self):
        deal = self.make()
        contact = self.client.post("/api/contacts/", {"last_name": "King"}).json()
        body = {"deal": deal["id"], "contact": contact["id"], "role": "champion"}
        part = self.client.post("/api/deal-contacts/", body).json()
        again = self.client.post("/api/deal-contacts/", body)
        self.assertEqual(again.status_code, 409)
        where = f"/api/deal-contacts/{part['id']}/"
        for other in (f"/api/deals/{deal['id']}/", f"/api/contacts/{contact['id']}/"):
            with self.subTest(other):
                self.assertEqual(self.client.delete(other).status_code, 204)
                self.assertEqual(self.client.get(where).status_code, 404)
                self.assertEqual(self.client.post(f"{other}restore/").status_code, 200)
                self.assertEqual(self.client.get(where).status_code, 200)

    def test_its_timeline_tells_of_moves_and_activities(self):
        deal = self.make()
        self.patch(deal, stage="Proposal")
        body = {"kind": "call", "subject": "Prices", "deal": deal["id"]}
        made = self.client.post("/api/activities/", body)
        self.assertEqual(made.status_code, 201, made.content)
        timeline = self.client.get(f"/api/deals/{deal['id']}/timeline/").json()
        call, move, creation = timeline["results"]
        self.assertEqual(call["record"]["subject"], "Prices")
        self.assertEqual(move["change"]["after"]["stage"], self.stages["Proposal"])
        self.assertEqual(creation["change"]["verb"], "create")
        self.client.delete(f"/api/deals/{deal['id']}/")
        where = f"/api/activities/{made.json()['id']}/"
        self.assertEqual(self.client.get(where).status_code, 404)

    def test_a_purge_takes_the_stays_too(self):
        deal = self.make()
        self.client.delete(f"/api/deals/{deal['id']}/")
        purge_batch(self.cast.organization, timezone.now() + timedelta(days=1))
        self.assertFalse(Deal.objects.exists())
        self.assertFalse(DealStay.objects.exists())


class MoveTests(DealTestCase):
    def test_a_move_ends_one_stay_and_begins_another(self):
        deal = self.make()
        moved = self.patch(deal, stage="Proposal")
        self.assertEqual(moved["stage"], self.stages["Proposal"])
        self.assertEqual(
            self.stays(deal),
            [
                ("Qualification", deal["stage_since"], moved["stage_since"]),
                ("Proposal", moved["stage_since"], None),
            ],
        )
        shown = self.client.get(f"/api/deals/{deal['id']}/stays/").json()
        first, latest = shown
        self.assertEqual(latest["stage"]["name"], "Proposal")
        self.assertIsNone(latest["left_at"])
        self.assertEqual(first["left_at"], latest["entered_at"])

    def test_what_does_not_move_it_leaves_the_stay(self):
        deal = self.make()
        before = self.stays(deal)
        self.patch(deal, amount="1.00", stage="Qualification")
        self.client.delete(f"/api/deals/{deal['id']}/")
        self.client.post(f"/api/deals/{deal['id']}/restore/")
        self.assertEqual(self.stays(deal), before)

    def test_to_win_or_lose_it_takes_a_reason(self):
        deal = self.make()
        for stage in ("Won", "Lost"):
            for fields in ({}, {"reason": ""}, {"reason": " "}):
                problem = self.patch(deal, 400, stage=stage, **fields)
                self.assertRefused(problem, "reason", "required")
        self.assertEqual(self.get(deal), deal)
        self.assertEqual(len(self.stays(deal)), 1)
        body = {"name": "x", "stage": self.stages["Won"]}
        answer = self.client.post("/api/deals/", body)
        self.assertRefused(answer.json(), "reason", "required")

    def test_won_it_is_closed_and_certain(self):
        deal = self.make(probability=60)
        won = self.patch(deal, stage="Won", reason="The price")
        row = Deal.objects.get()
        self.assertEqual((won["reason"], won["probability"]), ("The price", None))
        self.assertLess(row.created_at, row.closed_at)
        self.assertLessEqual(row.closed_at, row.updated_at)
        problem = self.patch(deal, 400, probability=50)
        self.assertRefused(problem, "probability", "not_allowed")

    def test_an_earlier_moment_can_be_given(self):
        moment = "2025-12-31T12:00:00Z"
        won = self.make(stage="Won", reason="Old", closed_at=moment)
        self.assertEqual(won["closed_at"], moment)

    def test_reopened_it_has_neither_reason_nor_end(self):
        deal = self.make()
        self.patch(deal, stage="Lost", reason="The price")
        open_again = self.patch(deal, stage="Negotiation")
        self.assertEqual((open_again["reason"], open_again["closed_at"]), ("", None))
        self.assertEqual(
            [name for name, _, _ in self.stays(deal)],
            ["Qualification", "Lost", "Negotiation"],
        )

    def test_what_follows_from_the_stage_follows_however_it_is_written(self):
        deal = Deal.objects.get(pk=self.make(probability=60)["id"])
        won, proposal = (
            Stage.objects.get(pk=self.stages[name]) for name in ("Won", "Proposal")
        )
        with system_changes(self.cast.organization) as changes:
            changes.save(deal, stage=won, reason="The price")
            self.assertIsNotNone(deal.closed_at)
            self.assertIsNone(deal.probability)
            changes.save(deal, stage=proposal)
        deal.refresh_from_db()
        self.assertEqual((deal.reason, deal.closed_at), ("", None))

    def test_from_lost_to_won_takes_another_reason(self):
        deal = self.make()
        lost = self.patch(deal, stage="Lost", reason="The price")
        problem = self.patch(deal, 400, stage="Won")
        self.assertRefused(problem, "reason", "required")
        won = self.patch(deal, stage="Won", reason="They came back")
        self.assertGreater(won["closed_at"], lost["closed_at"])

    def test_the_pipeline_follows_the_stage(self):
        with system_changes(self.cast.organization) as changes:
            partners = Pipeline(name="Partners")
            changes.save(partners)
        deal = self.make()
        moved = self.patch(deal, stage=partners.stages[1]["id"])
        self.assertEqual(moved["pipeline"], str(partners.pk))
        undone = self.undo(deal)
        self.assertEqual(undone.status_code, 200, undone.content)
        self.assertEqual(self.get(deal)["pipeline"], str(self.pipeline.pk))

    def test_of_two_who_read_the_same_one_moves_it(self):
        deal = self.make()
        etag = self.client.get(f"/api/deals/{deal['id']}/")["ETag"]
        self.patch(deal, stage="Proposal", headers={"If-Match": etag})
        self.patch(deal, 412, stage="Negotiation", headers={"If-Match": etag})
        self.assertEqual(self.get(deal)["stage"], self.stages["Proposal"])
        self.assertEqual(len(self.stays(deal)), 2)

    def test_a_removed_stage_takes_no_deal(self):
        deal = self.make()
        kept = [s for s in self.pipeline.stages if s["name"] != "Proposal"]
        with system_changes(self.cast.organization) as changes:
            changes.save(Pipeline.objects.get(pk=self.pipeline.pk), stages=kept)
        problem = self.patch(deal, 400, stage="Proposal")
        self.assertRefused(problem, "stage", "does_not_exist")

    def test_a_stage_that_is_removed_meanwhile_is_a_conflict(self):
        deal = Deal.objects.get(pk=self.make()["id"])
        stage = Stage.objects.get(pk=self.stages["Proposal"])
        kept = [s for s in self.pipeline.stages if s["name"] != "Proposal"]
        with (
            self.assertRaises(Conflict) as raised,
            system_changes(self.cast.organization) as changes,
        ):
            stages_of(changes.change_set.organization)
            with system_changes(self.cast.organization) as others:
                others.save(Pipeline.objects.get(pk=self.pipeline.pk), stages=kept)
            changes.save(deal, stage=stage)
        self.assertEqual(raised.exception.detail.code, "stage_removed")
        self.assertEqual(Deal.objects.get().version, 1)


class UndoneMoveTests(DealTestCase):
    def state(self, deal):
        left_out = {"version", "updated_at"}
        return {k: v for k, v in self.get(deal).items() if k not in left_out}

    def test_undo_of_a_move_leaves_stays_as_if_it_had_not_been(self):
        deal = self.make(probability=33)
        self.patch(deal, stage="Proposal")
        for stage, reason in (("Negotiation", ""), ("Won", "Price"), ("Lost", "Price")):
            with self.subTest(stage):
                before, stays = self.state(deal), self.stays(deal)
                self.patch(deal, stage=stage, **({"reason": reason} if reason else {}))
                self.assertEqual(len(self.stays(deal)), len(stays) + 1)
                self.assertEqual(self.undo(deal).status_code, 200)
                self.assertEqual(self.state(deal), before)
                self.assertEqual(self.stays(deal), stays)

    def test_undo_of_a_reopening_brings_the_end_back(self):
        deal = self.make()
        self.patch(deal, stage="Lost", reason="The price")
        before, stays = self.state(deal), self.stays(deal)
        self.patch(deal, stage="Proposal", probability=40)
        self.assertEqual(self.undo(deal).status_code, 200)
        self.assertEqual(self.state(deal), before)
        self.assertEqual(self.stays(deal), stays)

    def test_undo_of_won_to_lost_brings_the_first_end_back(self):
        deal = self.make()
        self.patch(deal, stage="Won", reason="The price")
        before, stays = self.state(deal), self.stays(deal)
        self.patch(deal, stage="Lost", reason="They left")
        self.assertEqual(self.undo(deal).status_code, 200)
        self.assertEqual(self.state(deal), before)
        self.assertEqual(self.stays(deal), stays)

    def test_a_redo_moves_it_again(self):
        deal = self.make()
        self.patch(deal, stage="Proposal")
        self.undo(deal)
        self.assertEqual(self.undo(deal).status_code, 200)
        self.assertEqual(
            [(name, left is None) for name, _, left in self.stays(deal)],
            [("Qualification", False), ("Proposal", True)],
        )
        self.undo(deal)
        self.assertEqual(
            [(name, left is None) for name, _, left in self.stays(deal)],
            [("Qualification", True)],
        )

    def test_undo_of_a_move_that_others_followed_is_a_conflict(self):
        for following in (["Negotiation"], ["Negotiation", "Proposal"]):
            with self.subTest(following):
                deal = self.make()
                for stage in ("Proposal", *following):
                    self.patch(deal, stage=stage)
                stays = self.stays(deal)
                self.assertEqual(self.undo(deal, version=2).status_code, 409)
                self.assertEqual(self.stays(deal), stays)

    def test_undo_does_not_go_back_to_a_removed_stage(self):
        deal = self.make(stage="Proposal")
        self.patch(deal, stage="Negotiation")
        kept = [s for s in self.pipeline.stages if s["name"] != "Proposal"]
        with system_changes(self.cast.organization) as changes:
            changes.save(Pipeline.objects.get(pk=self.pipeline.pk), stages=kept)
        answer = self.undo(deal)
        self.assertEqual(answer.status_code, 409, answer.content)
        self.assertEqual(self.get(deal)["stage"], self.stages["Negotiation"])


class ManyDealsTests(DealTestCase):
    def deals(self, count):
        return [
            Deal(
                organization=self.cast.organization,
                owner=self.cast.alice,
                name=f"Engine {n}",
            )
            for n in range(count)
        ]

    def test_many_are_made_and_moved_with_few_queries(self):
        with system_changes(self.cast.organization) as changes:
            deals = self.deals(50)
            vars(self.cast.organization).pop("stages_of_deals", None)
            # The stages, and the definitions of custom fields.
            with self.assertNumQueries(2):
                for deal in deals:
                    validate(deal)
            # The deals, their words, the change set, the changes, a check, the stays.
            with CaptureQueriesContext(connection) as few:
                changes.bulk_create(Deal, deals[:10])
            with CaptureQueriesContext(connection) as many:
                changes.bulk_create(Deal, deals[10:])
        self.assertLessEqual(len(many), len(few))
        self.assertFalse(DealStay.objects.exists())
        stage = Stage.objects.get(pk=self.stages["Proposal"])
        with system_changes(self.cast.organization) as changes:
            updates = []
            for deal in Deal.objects.all():
                before = snapshot(deal)
                deal.organization, deal.stage = self.cast.organization, stage
                validate(deal)
                updates.append((deal, before))
            changes.bulk_update(Deal, updates)
        self.assertEqual(DealStay.objects.count(), 50)
        undone = client_of(self.cast.manager).post(
            f"/api/change-sets/{changes.change_set.pk}/undo/"
        )
        self.assertEqual(undone.status_code, 200, undone.content)
        self.assertFalse(DealStay.objects.exists())

    def test_an_imported_file_makes_deals_with_their_stays(self):
        file = SimpleUploadedFile(
            "deals.csv",
            b"Deal Name,Amount,Currency,Close Date\nMill,1200,EUR,2026-12-01\n"
            b"Loom,-3,EUR,\n",
        )
        answer = self.client.post(
            "/api/imports/", {"record_type": "deal", "file": file}, format="multipart"
        )
        self.assertEqual(answer.status_code, 202, answer.content)
        jobs.run(answer.json()["id"])
        deal = Deal.objects.get()
        self.assertEqual(
            (deal.name, str(deal.amount), deal.currency, str(deal.expected_close_on)),
            ("Mill", "1200.00", "EUR", "2026-12-01"),
        )
        self.assertEqual(str(deal.stage_id), self.stages["Qualification"])
        self.assertFalse(DealStay.objects.exists())
        job = Job.objects.get()
        self.assertEqual(job.counts["failed"], 1)
