"""No id that a client can send shows it a row that it does not see.

Two try: stranger, a colleague whose role reaches only their own, at what alice owns;
and foreigner, an administrator elsewhere, at everything here. Whatever they send, the
answer is that to an id of nothing, byte for byte, and holds nothing of what is hidden.
"""

import json
import uuid
from urllib.parse import parse_qsl, urlsplit

import django_filters as filters
from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignKey, Q, UUIDField
from django.test import TestCase, tag
from rest_framework.relations import ManyRelatedField, RelatedField

from core.testing import client_of
from core.views import JournaledViewSet
from core.views.base import ViewSet
from lead_management.reports import REPORTS

from .people import (
    People,
    contract_for,
    contracts,
    endpoints,
    make_import,
    our_models,
    record_views,
)

# Where an id goes into a request.
ID = "the-id"
NOTHING = uuid.UUID(int=7)
# Ids in the bodies of what is no record: address and body.
BODIES = {"users/{}/hand-over/": {"to": ID}}


class Attacker:
    """Somebody, the ids by model that are hidden from them, and records of theirs."""

    def __init__(self, user, hidden: dict, own: dict):
        self.client = client_of(user)
        self.user = user
        self.hidden = hidden
        self.own = own
        self.secrets = {str(pk) for pks in hidden.values() for pk in pks}
        self.one_of_each = {model: pks[0] for model, pks in hidden.items()}

    def __str__(self):
        return self.user.first_name

    def ask(self, method, where, data, pk):
        """Send a request with this id in the place of ID."""
        text = json.dumps([where, data]).replace(ID, str(pk))
        return getattr(self.client, method)(*json.loads(text))


@tag("once")
class LeakTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.people = people = People()
        cls.contracts = {path: contract_for(path, people) for path in contracts()}
        cls.made = {
            name: {
                path: contract.make(client_of(getattr(people, name)), n=n)
                for path, contract in cls.contracts.items()
            }
            for n, name in enumerate(("alice", "stranger", "foreigner", "carol"), 800)
        }
        for owner in (people.alice, people.carol):
            make_import(owner)
        here, there = people.organization, people.other_organization
        # Said in plain queries, not by asking what is tested here.
        hidden = {
            "stranger": cls.rows(there, people.alice),
            "foreigner": cls.rows(here),
        }
        cls.attackers = [
            Attacker(getattr(people, name), rows, cls.made[name])
            for name, rows in hidden.items()
        ]

    def setUp(self):
        self.answers_of_nothing = {}

    @staticmethod
    def rows(organization, *owners) -> dict:
        """Ids of all rows of the organization, and of what these people own or did."""
        found = {}
        for model in our_models():
            names = {field.name for field in model._meta.concrete_fields}
            if "organization" in names and isinstance(model._meta.pk, UUIDField):
                hidden = Q(organization=organization)
                for name in names & {"owner", "actor"}:
                    hidden |= Q((f"{name}__in", owners))
                rows = model._base_manager.filter(hidden)
                if pks := list(rows.values_list("pk", flat=True)):
                    found[model] = pks
        return found

    # What holds for every answer

    def assertHoldsNothing(self, attacker, answer, sent=None):
        """No id of what is hidden stands in the answer, but the one that was sent."""
        content = self.content(answer)
        others = attacker.secrets - {str(sent)}
        found = {pk for pk in others if pk.encode() in content}
        self.assertEqual(found, set(), content[:500])

    def assertLikeNothing(self, status, attacker, method, where, data, pk):
        """What is hidden is answered as what is not there."""
        with self.subTest(f"{attacker}: {method} {where} {data} {pk}"):
            answer = attacker.ask(method, where, data, pk)
            self.assertIn(answer.status_code, status)
            self.assertHoldsNothing(attacker, answer, pk)
            none = self.answer_of_nothing(attacker, method, where, data)
            self.assertEqual(self.plain(answer, pk), none)
            return answer

    def answer_of_nothing(self, attacker, method, where, data):
        """Asked once in a test: nothing of it is written in between."""
        key = json.dumps([str(attacker), method, where, data])
        if key not in self.answers_of_nothing:
            none = attacker.ask(method, where, data, NOTHING)
            self.answers_of_nothing[key] = self.plain(none, NOTHING)
        return self.answers_of_nothing[key]

    def plain(self, answer, pk):
        """All of an answer, but for the id that was asked for and that of the request.

        The ETag is a hash of the bytes, in which the id may stand.
        """
        headers = {
            name: value
            for name, value in answer.headers.items()
            if name not in ("X-Request-ID", "ETag")
        }
        content = self.content(answer).replace(str(pk).encode(), ID.encode())
        return answer.status_code, content, headers

    @staticmethod
    def content(answer) -> bytes:
        if not answer.streaming:
            return answer.content
        if not hasattr(answer, "whole"):
            answer.whole = answer.getvalue()
        return answer.whole

    @staticmethod
    def views(base=ViewSet) -> dict:
        """(view, actions by method) of each endpoint that is one of our views."""
        return {
            f"/api/{address}": (callback.cls, callback.actions)
            for address, callback in endpoints().items()
            if issubclass(getattr(callback, "cls", object), base)
        }

    def lists(self, attacker, base=ViewSet) -> dict:
        """The view of each list, also of those that a record of the attacker has."""
        own = attacker.own
        return {
            address.format(own.get(address.split("/")[2], {}).get("id")): view
            for address, (view, actions) in self.views(base).items()
            if "list" in actions.values() and hasattr(view, "filterset_class")
        }


class LeakTests(LeakTestCase):
    # In the path

    def test_an_id_in_the_path(self):
        tried = 0
        for attacker in self.attackers:
            for address, (view, actions) in self.views().items():
                # Ids in other systems are no ids of rows.
                if "{}" in address and "/by/" not in address:
                    where = address.replace("{}", ID)
                    for pk in attacker.hidden.get(view.model, ()):
                        for method in list(actions):
                            sent = ([404], attacker, method, where, None, pk)
                            self.assertLikeNothing(*sent)
                            tried += 1
        self.assertGreater(tried, 300)

    # In a body

    def test_an_id_in_a_relation(self):
        tried = 0
        for attacker in self.attackers:
            for path, contract in self.contracts.items():
                where = contract.address(attacker.own[path])
                for name, many, pks in self.relations(attacker, record_views()[path]):
                    change = {name: [ID] if many else ID}
                    create = contract.body(n=700, **change)
                    for pk in pks:
                        for sent in (
                            ("patch", where, change),
                            ("post", contract.path, create),
                        ):
                            self.assertLikeNothing([400], attacker, *sent, pk)
                            tried += 1
                self.assertEqual(attacker.client.get(where).json(), attacker.own[path])
        self.assertGreater(tried, 20)

    @staticmethod
    def relations(attacker, view):
        """(field, whether it is a list, hidden ids) of what a body can refer to."""
        for name, field in view.serializer_class().fields.items():
            many = isinstance(field, ManyRelatedField)
            related = field.child_relation if many else field
            if isinstance(related, RelatedField) and not field.read_only:
                yield name, many, attacker.hidden.get(related.queryset.model, ())

    def test_an_id_in_another_body(self):
        for attacker in self.attackers:
            for address, body in BODIES.items():
                where = f"/api/{address.format(attacker.user.pk)}"
                for model, pk in attacker.one_of_each.items():
                    with self.subTest(model):
                        self.assertLikeNothing([400], attacker, "post", where, body, pk)

    def test_an_id_in_a_conversion(self):
        tried = 0
        for attacker in self.attackers:
            lead = attacker.own["leads"]
            where = f"/api/leads/{lead['id']}/convert/"
            for body in (
                {"contact": {"id": ID}},
                {"company": {"id": ID}},
                {"deal": {"id": ID}},
                {"deal": {"pipeline": ID}},
                {"deal": {"values": {"stage": ID}}},
                {"owner": ID},
            ):
                for pk in attacker.one_of_each.values():
                    self.assertLikeNothing([400], attacker, "post", where, body, pk)
                    tried += 1
            now = attacker.client.get(f"/api/leads/{lead['id']}/").json()
            self.assertEqual(now, lead)
        self.assertGreater(tried, 50)

    # In a query

    def test_an_id_in_a_filter(self):
        tried = 0
        for attacker in self.attackers:
            for where, view in self.lists(attacker).items():
                for name, one in view.filterset_class.base_filters.items():
                    if isinstance(one, filters.UUIDFilter):
                        meant = self.meant_by(view.model, one)
                        for model, pk in attacker.one_of_each.items():
                            if meant not in (None, model):
                                continue
                            sent = ("get", where, {name: ID}, pk)
                            # Of a group there is either none or its members.
                            status = (400,) if name == "group" else (200, 403)
                            answer = self.assertLikeNothing(status, attacker, *sent)
                            if answer and answer.status_code == 200:
                                self.assertEqual(answer.json()["results"], [])
                            tried += 1
        self.assertGreater(tried, 100)

    @staticmethod
    def meant_by(model, one):
        """The model whose ids a filter asks for; None where that is not one alone."""
        try:
            return model._meta.get_field(one.field_name).related_model
        except FieldDoesNotExist:
            return None

    def test_an_id_in_a_report(self):
        for attacker in self.attackers:
            for report in ("dashboard", *(f"reports/{name}" for name in REPORTS)):
                for name in ("owner", "team"):
                    for pk in attacker.one_of_each.values():
                        sent = ("get", f"/api/{report}/", {name: ID}, pk)
                        self.assertLikeNothing((200, 400), attacker, *sent)

    def test_access_of_somebody_elsewhere_is_that_of_nobody(self):
        for attacker in self.attackers:
            for path, contract in self.contracts.items():
                where = contract.address(attacker.own[path], "access/")
                for pk in attacker.hidden[type(attacker.user)]:
                    sent = ("get", where, {"user": ID}, pk)
                    self.assertLikeNothing([400], attacker, *sent)

    def test_lists_show_nothing_that_is_hidden(self):
        queries = ({}, {"page_size": 200}, {"cursor": ""}, {"deleted": "true"})
        for attacker in self.attackers:
            for where in self.lists(attacker):
                for query in queries:
                    with self.subTest(f"{attacker}: {where} {query}"):
                        answer = attacker.client.get(where, query)
                        self.assertIn(answer.status_code, (200, 400, 403))
                        self.assertHoldsNothing(attacker, answer)

    def test_neither_search_nor_a_text_filter_finds_it(self):
        tried = 0
        for attacker in self.attackers:
            for path, contract in self.contracts.items():
                record = self.made["alice"][path]
                for name in record_views()[path].search_fields:
                    for parameter in ("search", name, f"{name}__icontains"):
                        if text := record.get(name):
                            with self.subTest(f"{attacker}: {path}?{parameter}={text}"):
                                query = {parameter: text}
                                answer = attacker.client.get(contract.path, query)
                                self.assertEqual(answer.status_code, 200)
                                self.assertHoldsNothing(attacker, answer)
                                tried += 1
        self.assertGreater(tried, 5)

    def test_the_search_over_all_types_does_not_find_it(self):
        tried = 0
        for attacker in self.attackers:
            for path, record in self.made["alice"].items():
                for name in record_views()[path].search_fields:
                    if text := record.get(name):
                        with self.subTest(f"{attacker}: {text}"):
                            answer = attacker.client.get("/api/search/", {"q": text})
                            self.assertEqual(answer.status_code, 200)
                            self.assertHoldsNothing(attacker, answer)
                            self.assertNotIn(record["id"].encode(), answer.content)
                            tried += 1
        self.assertGreater(tried, 2)

    def test_no_order_and_no_filter_goes_by_what_is_not_shown(self):
        """Neither by a field that the view does not have, nor through a relation.

        What a view knows is the same for everybody, so that one asks.
        """
        attacker = self.attackers[0]
        for where, view in self.lists(attacker, JournaledViewSet).items():
            known = {*view.filterset_class.base_filters, *view.query_parameters}
            for name in self.paths(view.model):
                asked = [{name: "x"}] if name not in known else []
                if name not in view.ordering_fields:
                    asked.append({"ordering": name})
                for query in asked:
                    with self.subTest(f"{where} {query}"):
                        answer = attacker.client.get(where, query)
                        self.assertEqual(answer.status_code, 400)
                        self.assertHoldsNothing(attacker, answer)

    @staticmethod
    def paths(model):
        """Every column of a model, and those one relation away."""
        for field in model._meta.concrete_fields:
            yield field.name
            yield field.attname
            if isinstance(field, ForeignKey):
                for other in field.related_model._meta.concrete_fields:
                    yield f"{field.name}__{other.name}"

    def test_an_expanded_relation_to_what_is_hidden_is_null(self):
        """Such as to a company whose owner no longer shares it."""
        [stranger, _] = self.attackers
        for path, contract in self.contracts.items():
            record, view = stranger.own[path], record_views()[path]
            for name, model in view.representation.relations.items():
                # Whoever owns it sees it: a new owner would hide the record itself.
                if name == "owner" or model not in stranger.hidden:
                    continue
                with self.subTest(f"{path}?expand={name}"):
                    pk = stranger.one_of_each[model]
                    rows = view.model._base_manager.filter(pk=record["id"])
                    [before] = rows.values_list(name, flat=True)
                    rows.update(**{f"{name}_id": pk})
                    for where in (contract.path, contract.address(record)):
                        answer = stranger.client.get(where, {"expand": name})
                        self.assertHoldsNothing(stranger, answer)
                    self.assertIsNone(answer.json()[name])
                    rows.update(**{f"{name}_id": before})

    # What was given to somebody else

    def test_a_cursor_of_somebody_else(self):
        alice = client_of(self.people.alice)
        for path, contract in self.contracts.items():
            contract.make(n=701)
            start = {"cursor": "", "page_size": 1}
            following = alice.get(contract.path, start).json()["next"]
            query = dict(parse_qsl(urlsplit(following).query))
            for attacker in self.attackers:
                with self.subTest(f"{attacker}: {path}"):
                    answer = attacker.client.get(contract.path, query)
                    self.assertEqual(answer.status_code, 200)
                    self.assertHoldsNothing(attacker, answer)

    def test_an_idempotency_key_of_somebody_else(self):
        for path, contract in self.contracts.items():
            key = {"HTTP_IDEMPOTENCY_KEY": f"key-{path}"}
            first = contract.alice.post(contract.path, contract.body(n=600), **key)
            for attacker, n in zip(self.attackers, (601, 600), strict=True):
                with self.subTest(f"{attacker}: {path}"):
                    body = contract.body(n, attacker.client)
                    answer = attacker.client.post(contract.path, body, **key)
                    self.assertEqual(answer.status_code, 201)
                    self.assertNotIn("Idempotency-Replayed", answer)
                    self.assertNotEqual(answer.json()["id"], first.json()["id"])
