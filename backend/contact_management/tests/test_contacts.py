from django.test import TestCase

from core.testing import RecordContract


class ContactContract(RecordContract, TestCase):
    path = "/api/contacts/"
    valid = {
        "first_name": "Ada",
        "last_name": "King {n}",
        "email": "ada{n}@example.com",
    }
    change = {"job_title": "Countess", "tags": ["vip"]}
