from django.test import TestCase

from core.testing import RecordContract


class LeadContract(RecordContract, TestCase):
    path = "/api/leads/"
    valid = {
        "first_name": "Ada",
        "last_name": "Lovelace",
        "email": "ada{n}@example.com",
    }
    change = {"job_title": "Countess"}
