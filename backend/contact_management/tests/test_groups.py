from django.test import TestCase

from core.testing import RecordContract


class ContactGroupContract(RecordContract, TestCase):
    path = "/api/contact-groups/"
    valid = {"name": "Customers {n}", "kind": "static"}
    change = {"description": "Those who buy."}
