from django.test import TestCase

from core.testing import RecordContract


class ActivityContract(RecordContract, TestCase):
    path = "/api/activities/"
    valid = {"kind": "call", "subject": "Call {n}", "occurred_at": "2026-03-01T10:00:00Z"}
    change = {"outcome": "Reached"}
    needs = {"lead": ("/api/leads/", {"last_name": "Lovelace"})}
