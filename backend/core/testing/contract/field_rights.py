from django.db import models

from core.testing.people import ALL, MARKER, client_of, make_role, make_user

from .base import Contract


class FieldRights(Contract):
    """Fields that a role does not see, or does not edit."""

    def limited(self):
        """Somebody who may do everything, but for a hidden and a read-only field.

        Returns:
            Their client, the name of the hidden field, a value of it that a test can
            look for, and the name of the read-only field.
        """
        read_only = next(iter(self.change))
        texts = (
            name
            for name, field in self.view.representation.fields.items()
            if isinstance(field, models.CharField | models.TextField)
            and field.blank
            and field.editable
            and not field.choices
            and not isinstance(field, models.EmailField | models.URLField)
            and (field.max_length or 100) >= 50
            and name not in {*self.valid, *self.change}
        )
        hidden = next(texts, "custom_fields")
        value = MARKER if hidden != "custom_fields" else {"marker": MARKER}
        role = make_role(
            self.cast.organization,
            "limited",
            ALL,
            {
                self.model.record_type(): {
                    "hidden": [hidden],
                    "read_only": [read_only],
                }
            },
            changeset=ALL,
            auditlog=ALL,
        )
        user = make_user(self.cast.organization, "limited", role)
        return client_of(user), hidden, value, read_only

    def test_a_hidden_field_is_as_if_it_had_never_been(self):
        client, hidden, value, _ = self.limited()
        record = self.make(**{hidden: value})
        blank = dict.fromkeys(value) if isinstance(value, dict) else ""
        self.alice.patch(self.address(record), {hidden: blank})
        self.alice.patch(self.address(record), {hidden: value})
        shown = client.get(self.address(record))
        self.assertEqual(
            list(shown.json()),
            [
                name
                for name in self.view.all_fields
                if hidden not in (name, self.model.derived_from.get(name))
            ],
        )
        for path in (
            self.path,
            f"{self.path}?cursor=&expand=owner",
            self.address(record),
            self.address(record, "history/"),
            self.address(record, "access/"),
            f"/api/audit-log/?record_id={record['id']}",
            f"/api/audit-log/export/?record_id={record['id']}",
        ):
            with self.subTest(path):
                response = client.get(path)
                content = b"".join(response)
                self.assertEqual(response.status_code, 200, content)
                self.assertIn(record["id"].encode(), content + path.encode())
                self.assertNotIn(MARKER.encode(), content)
                self.assertNotRegex(content.decode(), rf"\b{hidden}\b")
        self.assertEqual(client.get(self.path, {"search": MARKER}).json()["count"], 0)
        stale = client.delete(self.address(record), HTTP_IF_MATCH='"1-0"')
        problem = self.assertProblem(stale, 412, "stale")
        self.assertEqual(problem["current"], shown.json())
        filters = self.view.filterset_class.base_filters
        for query in (
            {"fields": f"id,{hidden}"},
            {"expand": hidden},
            {"ordering": hidden},
            *({n: "x"} for n in filters if n.split("__")[0] == hidden),
        ):
            with self.subTest(query):
                response = client.get(self.path, query)
                never = {
                    n.replace(hidden, "never_was"): v.replace(hidden, "never_was")
                    for n, v in query.items()
                }
                self.assertEqual(response.status_code, 400)
                self.assertEqual(
                    response.content.replace(hidden.encode(), b"never_was"),
                    client.get(self.path, never).content,
                )

    def test_a_hidden_field_is_not_written_and_stays_as_it_is(self):
        client, hidden, value, _ = self.limited()
        record = self.make(**{hidden: value})
        for method, address in (
            ("post", self.path),
            ("patch", self.address(record)),
            ("put", self.address(record)),
        ):
            with self.subTest(method):
                body = self.body(n=2, **{hidden: value})
                response = getattr(client, method)(address, body)
                self.assertProblem(response, 400, "unknown_field", hidden)
        self.assertEqual(self.stored(record).version, 1)
        self.assertEqual(self.model.objects.count(), 1)
        shown = client.get(self.address(record)).json()
        self.assertEqual(client.put(self.address(record), shown).json(), shown)
        client.delete(self.address(record))
        client.post(self.address(record, "restore/"))
        self.assertEqual(self.alice.get(self.address(record)).json()[hidden], value)
        made = self.make(client, n=2)
        self.assertNotIn(hidden, made)
        default = self.model._meta.get_field(hidden).get_default()
        self.assertEqual(getattr(self.stored(made), hidden), default)

    def test_a_read_only_field_shows_and_takes_no_new_value(self):
        client, _, _, name = self.limited()
        record = self.make()
        new = {name: self.change[name]}
        for method in ("patch", "put"):
            with self.subTest(method):
                call = getattr(client, method)
                response = call(self.address(record), self.body(**new))
                problem = self.assertProblem(response, 403, "field_read_only")
                self.assertEqual([e["field"] for e in problem["errors"]], [name])
        created = client.post(self.path, self.body(n=2, **new))
        self.assertProblem(created, 403, "field_read_only")
        self.assertEqual(self.model.objects.count(), 1)
        self.assertEqual(self.stored(record).version, 1)
        kept = client.patch(self.address(record), {name: record[name]})
        self.assertEqual((kept.status_code, kept.json()[name]), (200, record[name]))

        self.alice.patch(self.address(record), new)
        self.assertEqual(
            client.put(self.address(record), self.body()).json()[name],
            self.change[name],
        )
        [update, *_] = self.alice.get(self.address(record, "history/")).json()[
            "results"
        ]
        undone = client.post(f"/api/change-sets/{update['change_set']['id']}/undo/")
        problem = self.assertProblem(undone, 409, "undo_conflict")
        self.assertEqual(
            [(c["field"], c["code"]) for c in problem["conflicts"]],
            [(name, "permission_denied")],
        )
        self.assertEqual(self.stored(record).version, 2)
