from .base import Contract


class Past(Contract):
    """History and undo."""

    def test_history_tells_each_change_and_undo_takes_it_back(self):
        record = self.make()
        self.alice.patch(
            self.address(record), self.change, HTTP_X_CHANGE_REASON="because"
        )
        update, creation = self.alice.get(self.address(record, "history/")).json()[
            "results"
        ]
        self.assertEqual((creation["verb"], creation["version"]), ("create", 1))
        self.assertEqual((update["verb"], update["version"]), ("update", 2))
        for name, value in self.change.items():
            self.assertEqual(update["before"][name], record[name])
            self.assertEqual(update["after"][name], value)
            self.assertEqual(creation["after"].get(name), record[name] or None)
        self.assertEqual(update["change_set"]["actor"]["email"], self.cast.alice.email)
        self.assertEqual(update["change_set"]["source"], "api")
        self.assertEqual(update["change_set"]["reason"], "because")

        undone = self.alice.post(f"/api/change-sets/{update['change_set']['id']}/undo/")
        self.assertEqual(undone.status_code, 200, undone.content)
        self.assertEqual(undone.json()["undone"], 1)
        now = self.alice.get(self.address(record)).json()
        self.assertEqual(now["version"], 3)
        written = {"version", "updated_at"}
        self.assertEqual(
            {k: v for k, v in now.items() if k not in written},
            {k: v for k, v in record.items() if k not in written},
        )
