from django.urls import resolve

from core.testing.people import Cast, client_of


class Contract:
    """What all parts of the contract of records use."""

    path: str
    valid: dict
    change: dict
    needs: dict[str, tuple[str, dict]] = {}

    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()
        cls.view = resolve(cls.path).func.cls
        cls.model = cls.view.model

    def setUp(self):
        self.alice = client_of(self.cast.alice)
        self.made_first = {}

    def body(self, n=1, client=None, **fields):
        """A right body for this client, alice's if not given."""
        texts = {
            k: v.format(n=n) if isinstance(v, str) else v for k, v in self.valid.items()
        }
        return {**texts, **self.needed(client or self.alice, n), **fields}

    def needed(self, client, n) -> dict:
        """The ids of what a body refers to, made by the client once for each `n`."""
        ids = {}
        for name, (path, body) in self.needs.items():
            key = (client, n, name)
            if key not in self.made_first:
                response = client.post(path, body)
                self.assertEqual(response.status_code, 201, response.content)
                self.made_first[key] = response.json()["id"]
            ids[name] = self.made_first[key]
        return ids

    def make(self, client=None, n=1, **fields) -> dict:
        client = client or self.alice
        response = client.post(self.path, self.body(n, client, **fields))
        self.assertEqual(response.status_code, 201, response.content)
        return response.json()

    def address(self, record, suffix="") -> str:
        return f"{self.path}{record['id']}/{suffix}"

    def stored(self, record):
        return self.model.objects.get(pk=record["id"])

    def assertProblem(self, response, status, code, field=None):
        """The answer is this problem, about this field."""
        self.assertEqual(response.status_code, status, response.content)
        self.assertEqual(response["Content-Type"], "application/problem+json")
        problem = response.json()
        self.assertEqual(problem["status"], status)
        if field is None:
            self.assertEqual(problem["code"], code)
        else:
            found = {(e["field"], e["code"]) for e in problem["errors"]}
            self.assertEqual(found, {(field, code)})
        return problem
