import threading
from collections import Counter
from unittest import mock, skipUnless

from django.db import OperationalError, connection, connections
from django.test import TransactionTestCase

from contact_management.models import Contact
from core import jobs
from core.models import Change, Changes, ChangeSet, Job
from core.testing import Cast, client_of

PATH = "/api/contacts/"
THREADS = 8


def at_once(*actions) -> list:
    """Run each action in a thread of its own, all from the same moment."""
    results: list = [None] * len(actions)
    start = threading.Barrier(len(actions))

    def run(number, action):
        try:
            start.wait()
            results[number] = action()
        except Exception as error:
            results[number] = error
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=run, args=(number, action))
        for number, action in enumerate(actions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def second_writer(write) -> threading.Thread:
    """A thread that has written as far as it can while a transaction here is open.

    What it was refused by stands in its `error`, once it is joined.
    """

    def run():
        try:
            write()
        except Exception as error:
            thread.error = error
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.error = None
    thread.start()
    thread.join(0.5)
    return thread


# The tests of SQLite live in memory, in one database that all threads share and whose
# tables they lock without waiting: nothing about the races of files shows there.
@skipUnless(connection.vendor == "postgresql", "needs connections that wait for locks")
class RaceTests(TransactionTestCase):
    def setUp(self):
        self.cast = Cast()
        self.client = client_of(self.cast.alice)

    def make(self, **fields) -> str:
        answer = self.client.post(PATH, {"last_name": "King", **fields})
        self.assertEqual(answer.status_code, 201)
        return f"{PATH}{answer.json()['id']}/"

    def patch(self, address, headers=None, **fields):
        client = client_of(self.cast.alice)
        return client.patch(address, fields, headers=headers)

    def test_of_many_who_create_the_same_one_wins(self):
        def create():
            return client_of(self.cast.alice).post(PATH, {"email": "ada@example.com"})

        answers = at_once(*[create] * THREADS)
        self.assertEqual(
            Counter(a.status_code for a in answers), {201: 1, 409: THREADS - 1}
        )
        for answer in answers:
            if answer.status_code == 409:
                problem = answer.json()
                self.assertEqual(problem["code"], "unique")
                self.assertEqual(
                    [(e["field"], e["code"]) for e in problem["errors"]],
                    [("email", "unique")],
                )
        self.assertEqual(Contact.objects.count(), 1)
        self.assertEqual(Change.objects.filter(record_type="contact").count(), 1)

    def test_of_many_who_take_the_same_value_one_wins(self):
        addresses = [self.make(last_name=f"King {n}") for n in range(THREADS)]
        answers = at_once(
            *(
                lambda address=address: self.patch(address, email="ada@example.com")
                for address in addresses
            )
        )
        self.assertEqual(
            Counter(a.status_code for a in answers), {200: 1, 409: THREADS - 1}
        )
        self.assertEqual(Contact.objects.filter(email="ada@example.com").count(), 1)
        self.assertEqual(
            Change.objects.filter(record_type="contact", verb="update").count(), 1
        )

    def test_changes_of_different_fields_at_once_both_survive(self):
        address = self.make()
        for n in range(20):
            answers = at_once(
                lambda n=n: self.patch(address, job_title=f"Title {n}"),
                lambda n=n: self.patch(address, city=f"City {n}"),
            )
            self.assertEqual([a.status_code for a in answers], [200, 200])
            contact = Contact.objects.get()
            self.assertEqual(
                (contact.job_title, contact.city), (f"Title {n}", f"City {n}")
            )
        self.assertEqual(contact.version, 41)
        versions = Change.objects.filter(record_id=contact.pk).order_by("version")
        self.assertEqual(
            list(versions.values_list("version", flat=True)), list(range(1, 42))
        )

    def test_counting_with_if_match_loses_nothing(self):
        address = self.make(custom_fields={"count": 0})
        rounds = 5

        def count():
            client = client_of(self.cast.alice)
            done = 0
            while done < rounds:
                read = client.get(address)
                number = read.json()["custom_fields"]["count"]
                answer = self.patch(
                    address,
                    {"If-Match": read["ETag"]},
                    custom_fields={"count": number + 1},
                )
                if answer.status_code == 200:
                    done += 1
                elif answer.status_code != 412:
                    return answer
            return None

        self.assertEqual(at_once(*[count] * 4), [None] * 4)
        contact = Contact.objects.get()
        self.assertEqual(contact.custom_fields, {"count": 4 * rounds})
        self.assertEqual(contact.version, 4 * rounds + 1)

    def test_of_two_undos_at_once_one_works(self):
        address = self.make()
        self.patch(address, job_title="Countess")
        change_set = ChangeSet.objects.latest("created_at")

        def undo():
            client = client_of(self.cast.alice)
            return client.post(f"/api/change-sets/{change_set.pk}/undo/")

        answers = at_once(*[undo] * 4)
        self.assertEqual(Counter(a.status_code for a in answers), {200: 1, 409: 3})
        self.assertEqual(Contact.objects.get().version, 3)
        self.assertEqual(ChangeSet.objects.filter(undoes=change_set).count(), 1)

    def test_of_many_who_delete_one_succeeds(self):
        address = self.make()
        answers = at_once(
            *[lambda: client_of(self.cast.alice).delete(address)] * THREADS
        )
        self.assertEqual(
            Counter(a.status_code for a in answers), {204: 1, 404: THREADS - 1}
        )
        self.assertEqual(Contact.objects.get().version, 2)

    def test_of_many_workers_one_gets_the_job(self):
        job = Job.objects.create(
            organization=self.cast.organization, owner=self.cast.alice, kind="x"
        )
        leases = at_once(*[lambda: jobs._claim(job.pk)] * THREADS)
        self.assertEqual(sum(lease is not None for lease in leases), 1)
        job.refresh_from_db()
        self.assertIn(job.lease, leases)
        self.assertEqual(job.attempts, 1)


class RetryTests(TransactionTestCase):
    """What the database gave up may work when it is tried again."""

    def setUp(self):
        self.client = client_of(Cast().alice)
        self.client.raise_request_exception = False

    def post(self, pgcode: str, times: int, **headers):
        """Create a contact whose first tries end, after writing, in this error."""
        save = Changes.save
        failures = iter(range(times))

        def fail_first(changes, record, **values):
            saved = save(changes, record, **values)
            if next(failures, None) is not None:
                cause = Exception("deadlock detected")
                cause.pgcode = pgcode
                raise OperationalError("deadlock detected") from cause
            return saved

        with mock.patch.object(Changes, "save", fail_first):
            return self.client.post(PATH, {"last_name": "King"}, **headers)

    def test_a_deadlock_is_tried_again_and_not_shown(self):
        for pgcode in ("40P01", "40001"):
            with self.subTest(pgcode):
                before = Contact.objects.count()
                answer = self.post(pgcode, 2, HTTP_IDEMPOTENCY_KEY=pgcode)
                self.assertEqual(answer.status_code, 201, answer.content)
                self.assertEqual(Contact.objects.count(), before + 1)
                changes = Change.objects.filter(record_id=answer.json()["id"])
                self.assertEqual(changes.count(), 1)

    def test_deadlock_after_deadlock_is_said_to_be_busy(self):
        with self.assertLogs("core.problems", "WARNING"):
            answer = self.post("40P01", 100)
        self.assertEqual((answer.status_code, answer["Retry-After"]), (503, "2"))
        self.assertEqual(answer.json()["code"], "unavailable")
        self.assertFalse(Contact.objects.exists())

    def test_other_errors_of_the_database_are_not_tried_again(self):
        with self.assertLogs("core.problems", "WARNING"):
            answer = self.post("55P03", 1)
        self.assertEqual(answer.status_code, 503)
        self.assertFalse(Contact.objects.exists())
