from django.test import TestCase

from core.testing import RecordContract


class TagContract(RecordContract, TestCase):
    path = "/api/tags/"
    valid = {"name": "vip {n}"}
    change = {"color": "gold"}
