from django.db import connection
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from core.testing import ALL, Cast, client_of, make_role, make_user, system_changes
from lead_management.models import Pipeline

PATH = "/api/deals/board/"


class BoardTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.pipeline = Pipeline.objects.get(organization=cls.cast.organization)
        cls.stages = {stage["name"]: stage["id"] for stage in cls.pipeline.stages}

    def setUp(self):
        self.alice = client_of(self.cast.alice)

    def make(self, stage="Qualification", client=None, **fields) -> str:
        body = {"name": "Engine", "stage": self.stages[stage], **fields}
        answer = (client or self.alice).post("/api/deals/", body)
        self.assertEqual(answer.status_code, 201, answer.content)
        return answer.json()["id"]

    def board(self, client=None, status=200, **query) -> dict:
        answer = (client or self.alice).get(PATH, query)
        self.assertEqual(answer.status_code, status, answer.content)
        return answer.json()

    def columns(self, **query) -> dict:
        columns = self.board(**query)["columns"]
        return {column["stage"]["name"]: column for column in columns}

    def counts(self, **query) -> dict:
        columns = self.columns(**query)
        return {name: c["count"] for name, c in columns.items() if c["count"]}

    def test_the_columns_are_the_stages_in_their_order(self):
        deal = self.make("Proposal")
        board = self.board()
        self.assertEqual(
            board["pipeline"], {"id": str(self.pipeline.pk), "name": "Sales"}
        )
        self.assertEqual(
            [column["stage"] for column in board["columns"]], self.pipeline.stages
        )
        [column] = [c for c in board["columns"] if c["count"]]
        shown = self.alice.get(f"/api/deals/{deal}/").json()
        self.assertEqual(
            column,
            {
                "stage": self.pipeline.stages[2],
                "count": 1,
                "sums": [],
                "results": [shown],
                "next": None,
            },
        )

    def test_sums_are_by_currency_and_weighted(self):
        self.make("Proposal", amount="100.10")
        self.make("Proposal", amount="10", probability=33)
        self.make("Proposal", amount="7.77", currency="EUR")
        self.make("Proposal")
        self.make("Won", amount="5", reason="Price")
        self.make("Lost", amount="5", reason="Price")
        columns = self.columns()
        self.assertEqual(columns["Proposal"]["count"], 4)
        self.assertEqual(
            columns["Proposal"]["sums"],
            [
                {"currency": "EUR", "amount": "7.77", "weighted": "3.88"},
                {"currency": "USD", "amount": "110.10", "weighted": "53.35"},
            ],
        )
        for name, weighted in (("Won", "5.00"), ("Lost", "0.00")):
            self.assertEqual(
                columns[name]["sums"],
                [{"currency": "USD", "amount": "5.00", "weighted": weighted}],
            )

    def test_each_column_shows_its_first_deals_and_leads_to_the_rest(self):
        made = {
            stage: [self.make(stage, name=f"{stage} {n}") for n in range(5)]
            for stage in ("Qualification", "Proposal")
        }
        columns = self.columns(page_size=2, ordering="name", owner="me")
        for stage, ids in made.items():
            with self.subTest(stage):
                column = columns[stage]
                self.assertEqual(column["count"], 5)
                seen = [deal["id"] for deal in column["results"]]
                self.assertEqual(seen, ids[:2])
                following = column["next"]
                while following:
                    answer = self.alice.get(following)
                    self.assertEqual(answer.status_code, 200, answer.content)
                    seen += [deal["id"] for deal in answer.json()["results"]]
                    following = answer.json()["next"]
                self.assertEqual(seen, ids)
        self.assertIsNone(columns["Won"]["next"])

    def test_a_column_goes_on_where_it_ended_whatever_it_is_ordered_by(self):
        dates = ["2026-03-01", None, "2026-01-01", None, "2026-02-01"]
        ids = [self.make(expected_close_on=date) for date in dates]
        for ordering in ("expected_close_on", "-expected_close_on", "-created_at"):
            listed = self.alice.get("/api/deals/", {"ordering": ordering}).json()
            wanted = [deal["id"] for deal in listed["results"]]
            for size in (1, 2, 3, 4):
                with self.subTest(f"{ordering} {size}"):
                    query = {"page_size": size, "ordering": ordering}
                    column = self.columns(**query)["Qualification"]
                    seen = [deal["id"] for deal in column["results"]]
                    following = column["next"]
                    while following:
                        page = self.alice.get(following).json()
                        seen += [deal["id"] for deal in page["results"]]
                        following = page["next"]
                    self.assertEqual(seen, wanted)
        self.assertEqual(set(wanted), set(ids))

    def test_the_lists_filters_hold(self):
        self.make("Proposal", name="Mill", tags=["vip"], amount="5")
        self.make("Negotiation", name="Loom")
        self.assertEqual(self.counts(tags="vip"), {"Proposal": 1})
        self.assertEqual(self.counts(search="loom"), {"Negotiation": 1})
        self.assertEqual(self.counts(amount__gte=6), {})
        stage = self.stages["Proposal"]
        self.assertEqual(self.counts(stage=stage), {"Proposal": 1})
        self.assertEqual(self.counts(owner="me"), {"Proposal": 1, "Negotiation": 1})

    def test_a_sparse_board_and_one_with_relations(self):
        self.make("Proposal")
        [deal] = self.columns(fields="id,name,stage", expand="stage")["Proposal"][
            "results"
        ]
        self.assertEqual(set(deal), {"id", "name", "stage"})
        self.assertEqual(deal["stage"]["name"], "Proposal")

    def test_everybody_counts_what_they_see(self):
        self.make("Proposal", amount="100")
        stranger = client_of(self.cast.stranger)
        self.make("Proposal", stranger, amount="7")
        for user, count, amount in (
            (self.cast.alice, 1, "100.00"),
            (self.cast.bob, 1, "100.00"),
            (self.cast.stranger, 1, "7.00"),
            (self.cast.manager, 2, "107.00"),
        ):
            with self.subTest(user):
                column = self.columns(client=client_of(user))["Proposal"]
                self.assertEqual(column["count"], count)
                self.assertEqual(column["sums"][0]["amount"], amount)
        counts = [c["count"] for c in self.board(client_of(self.cast.carol))["columns"]]
        self.assertEqual(sum(counts), 0)

    def test_another_pipeline_is_chosen(self):
        with system_changes(self.cast.organization) as changes:
            partners = Pipeline()
            changes.save(partners, name="Partners", position=5)
        self.make("Proposal")
        self.make(stage="Proposal")
        deal = self.alice.post(
            "/api/deals/", {"name": "x", "stage": partners.stages[0]["id"]}
        ).json()
        board = self.board(pipeline=str(partners.pk))
        self.assertEqual(board["pipeline"]["name"], "Partners")
        self.assertEqual(
            [d["id"] for c in board["columns"] for d in c["results"]], [deal["id"]]
        )

    def test_bad_parameters_are_named(self):
        elsewhere = Pipeline.objects.get(organization=self.cast.other_organization)
        for query, field, code in (
            ({"pipeline": "x"}, "pipeline", "invalid"),
            ({"pipeline": str(elsewhere.pk)}, "pipeline", "does_not_exist"),
            ({"page": 2}, "page", "unknown_parameter"),
            ({"cursor": ""}, "cursor", "unknown_parameter"),
            ({"deleted": "true"}, "deleted", "unknown_parameter"),
            ({"page_size": 201}, "page_size", "max_value"),
            ({"ordering": "stage"}, "ordering", "unknown_ordering"),
            ({"surprise": 1}, "surprise", "unknown_parameter"),
        ):
            with self.subTest(query):
                problem = self.board(status=400, **query)
                [error] = problem["errors"]
                self.assertEqual((error["field"], error["code"]), (field, code))

    def test_what_a_role_hides_is_not_summed(self):
        self.make("Proposal", amount="100")

        def hiding(*names):
            rights = {"deal": {"hidden": list(names)}}
            number = len(names)
            role = make_role(self.cast.organization, f"without {names}", ALL, rights)
            user = make_user(self.cast.organization, f"u{number}{names[0]}", role)
            return client_of(user)

        column = self.columns(client=hiding("amount"))["Proposal"]
        self.assertNotIn("sums", column)
        self.assertNotIn(b"100.00", str(column).encode())
        self.assertNotIn("sums", self.columns(client=hiding("currency"))["Proposal"])
        self.assertEqual(
            self.columns(client=hiding("probability"))["Proposal"]["sums"],
            [{"currency": "USD", "amount": "100.00"}],
        )
        stageless = hiding("stage", "reason")
        self.board(stageless, status=404)
        [deal] = stageless.get("/api/deals/").json()["results"]
        self.assertNotIn("pipeline", deal)
        stays = stageless.get(f"/api/deals/{deal['id']}/stays/")
        self.assertEqual(stays.status_code, 404)

    def test_the_queries_are_as_many_for_few_as_for_many(self):
        counts = []
        for total in (3, 20):
            for n in range(total):
                self.make(("Qualification", "Proposal", "Negotiation")[n % 3])
            with CaptureQueriesContext(connection) as queries:
                self.board(expand="owner,stage", page_size=4)
            counts.append(len(queries))
        # The pipeline, the sums, the deals, their owners, their stages.
        self.assertEqual(counts, [5, 5])


class CachedBoardTests(TransactionTestCase):
    """Kept in Redis, where there is one; by its bytes, where there is none."""

    def test_304_until_a_deal_or_the_pipeline_changes(self):
        cast = Cast()
        alice = client_of(cast.alice)
        deal = alice.post("/api/deals/", {"name": "Engine"}).json()

        def read(**headers):
            answer = alice.get(PATH, headers=headers)
            return answer.status_code, answer["ETag"]

        status, first = read()
        self.assertEqual(read(if_none_match=first), (304, first))
        alice.patch(f"/api/deals/{deal['id']}/", {"amount": "3"})
        status, second = read(if_none_match=first)
        self.assertEqual(status, 200)
        self.assertEqual(read(if_none_match=second), (304, second))
        with system_changes(cast.organization) as changes:
            pipeline = Pipeline.objects.get(organization=cast.organization)
            changes.save(pipeline, name="Machines")
        self.assertEqual(read(if_none_match=second)[0], 200)
