from django.test import TestCase

from core.testing import RecordContract


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
