"""Rows are read while those before are written, and mean what they would then."""

import threading
from unittest import mock

from core import jobs
from core.importing.rows import RowImport
from core.models import Changes
from core.testing import client_of, system_changes
from core.tests.test_imports import ImportTestCase
from user_management.models import User

PATIENCE_SECONDS = 10


class AheadTests(ImportTestCase):
    def setUp(self):
        super().setUp()
        self.chunks_of(1)

    def noting_reads(self):
        """(thread, whether it came to a chunk) for each time that rows are read."""
        reads, read = [], RowImport.read

        def noting(importer, rows):
            name = threading.current_thread().name.partition("_")[0]
            reads.append([name, False])
            chunk = read(importer, rows)
            reads[-1][1] = True
            return chunk

        patch = mock.patch.object(RowImport, "read", noting)
        patch.start()
        self.addCleanup(patch.stop)
        return reads

    def test_the_next_rows_are_read_while_the_database_writes(self):
        reads = self.noting_reads()
        create, seen = Changes.bulk_create, []

        def slow(changes, model, records):
            for _ in range(100 * PATIENCE_SECONDS):
                if len(reads) > len(seen) + 1 and reads[-1][1]:
                    break
                threading.Event().wait(0.01)
            seen.append(len(reads))
            create(changes, model, records)

        with mock.patch.object(Changes, "bulk_create", slow):
            shown = self.run_import("email\na@x.com\nb@x.com\nc@x.com\n")
        self.assertCounts(shown, 3, 0, 0, 0)
        # The last time there is nothing more to be read but the end of the file.
        self.assertEqual(seen, [2, 3, 4])
        self.assertEqual(reads, [["import", True]] * 4)

    def test_rows_that_ask_the_database_are_read_in_their_turn(self):
        reads = self.noting_reads()
        manager, alice = self.cast.manager, self.cast.alice
        shown = self.run_import(
            f"email,owner\na@x.com,{alice.email}\nb@x.com,nobody@x.com\n"
            f"c@x.com,{alice.email}\nd@x.com,{manager.email}\n",
            client_of(manager),
        )
        self.assertCounts(shown, 4, 0, 0, 0)
        self.assertEqual(shown["unknown_owners"], {"nobody@x.com": 1})
        owners = [owner for (owner,) in self.rows("owner")]
        self.assertEqual(owners, [alice.pk, manager.pk, alice.pk, manager.pk])
        # Those who were named before are known.
        ahead, again = ["import", True], [["import", False], ["MainThread", True]]
        # The end of the file is looked for only if the job is not over before.
        self.assertEqual(reads[:7], [*again, *again, ahead, *again])

    def test_a_colleague_who_left_meanwhile_gets_nothing_more(self):
        manager, colleague = self.cast.manager, self.cast.alice
        text = f"email,owner\na@x.com,{colleague.email}\nb@x.com,{colleague.email}\n"
        job = self.submit(text, client_of(manager))
        step = jobs.HANDLERS["import"].step

        def leaving(handler, job):
            if job.done == 1:
                with system_changes(self.cast.organization) as changes:
                    changes.save(User.objects.get(pk=colleague.pk), is_active=False)
            return step(handler, job)

        with mock.patch.object(jobs.HANDLERS["import"], "step", leaving):
            jobs.run(job.pk)
        owners = [owner for (owner,) in self.rows("owner")]
        self.assertEqual(owners, [colleague.pk, manager.pk])
        job.refresh_from_db()
        self.assertEqual(job.state["unknown_owners"], {colleague.email: 1})
