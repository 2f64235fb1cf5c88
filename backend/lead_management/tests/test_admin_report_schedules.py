"""The pages of reports that are mailed by themselves, and their action "Send now"."""

from django.core import mail
from django.test import tag

from core import letters
from core.models import ChangeSet, Letter
from core.testing import ALL, OWN, make_role, make_user, system_changes
from lead_management.models import ReportSchedule
from lead_management.reports import REPORTS, Preset
from user_management.tests.test_admin import AdminTestCase

PAGES = "/admin/lead_management/reportschedule/"


@tag("once")
class ReportScheduleAdminTests(AdminTestCase):
    def schedule(self, **values) -> ReportSchedule:
        values = {"name": "Weekly", "report": "sources", "owner": self.admin, **values}
        return self.make(ReportSchedule, **values)

    def path(self, schedule) -> str:
        return f"{PAGES}{schedule.pk}/change/"

    def act(self, action, *schedules, query="", **more):
        body = {"action": action, "_selected_action": [str(s.pk) for s in schedules]}
        return self.client.post(f"{PAGES}{query}", {**body, **more}, follow=True)

    def messages(self, response) -> list[str]:
        return [str(message) for message in response.context["messages"]]

    def offered(self) -> set[str]:
        """The actions that the list offers."""
        form = self.page(PAGES).context["action_form"]
        return {name for name, _ in form.fields["action"].choices} if form else set()

    def delete(self, schedule):
        with system_changes(self.organization) as changes:
            changes.delete(self.stored(schedule))

    def sent(self) -> list[str]:
        letters.send_due()
        return sorted(message.to[0] for message in mail.outbox)

    # The form

    def test_it_offers_the_reports_the_periods_and_the_people_who_are_there(self):
        make_user(self.organization, "gone", self.seller.role, is_active=False)
        fields = self.page(f"{PAGES}add/").context["adminform"].form.fields
        self.assertEqual([name for name, _ in fields["report"].choices], list(REPORTS))
        self.assertEqual(
            [name for name, _ in fields["period"].choices], list(Preset.values)
        )
        self.assertEqual(
            set(fields["recipients"].queryset), {self.admin, self.reader, self.seller}
        )
        self.assertNotIn("next_at", fields)

    def test_one_is_made_with_its_recipients_and_the_time_that_it_is_due(self):
        sent = self.send(
            f"{PAGES}add/",
            name="Monthly",
            report="pipelines",
            every="month",
            day="31",
            hour="8",
            attachment="xlsx",
            recipients=[str(self.seller.pk), str(self.reader.pk)],
        )
        self.assertSaved(sent)
        schedule = ReportSchedule.objects.get()
        self.assertEqual(
            (schedule.name, schedule.report, schedule.period, schedule.every),
            ("Monthly", "pipelines", "last_week", "month"),
        )
        self.assertEqual(
            (schedule.day, schedule.hour, schedule.attachment), (31, 8, "xlsx")
        )
        self.assertEqual(
            set(schedule.recipients), {str(self.seller.pk), str(self.reader.pk)}
        )
        self.assertEqual((schedule.owner, schedule.version), (self.admin, 1))
        self.assertEqual(schedule.next_at, schedule.after(schedule.created_at))
        self.assertEqual(ChangeSet.objects.latest("pk").source, "admin")

    def test_a_form_that_is_sent_back_unchanged_changes_nothing(self):
        schedule = self.schedule(recipients=[str(self.seller.pk)])
        self.assertSaved(self.send(self.path(schedule)))
        self.assertEqual(self.stored(schedule).version, 1)

    def test_changes_are_journalled_and_one_that_is_off_is_not_due(self):
        schedule = self.schedule(recipients=[str(self.seller.pk)])
        self.assertSaved(self.send(self.path(schedule), recipients=[], hour="9"))
        stored = self.stored(schedule)
        self.assertEqual((stored.recipients, stored.hour, stored.version), ([], 9, 2))
        self.assertEqual(stored.next_at.hour, 9)
        after = self.last_change(schedule).after
        self.assertEqual(after, {"recipients": [], "hour": 9})
        data = self.form(self.path(schedule))
        data.pop("is_active")
        self.assertSaved(self.client.post(self.path(schedule), data))
        self.assertIsNone(self.stored(schedule).next_at)

    def test_what_is_wrong_is_an_error_of_its_field(self):
        schedule = self.schedule()
        carol = str(self.elsewhere.carol.pk)
        for field, value in (
            ("report", "nonsense"),
            ("period", "nonsense"),
            ("every", "year"),
            ("weekday", "7"),
            ("day", "0"),
            ("day", "32"),
            ("hour", "24"),
            ("attachment", "pdf"),
            ("recipients", [carol]),
            ("recipients", ["nobody"]),
        ):
            with self.subTest(f"{field}: {value}"):
                answer = self.send(self.path(schedule), **{field: value})
                self.assertEqual(answer.status_code, 200)
                errors = answer.context["adminform"].form.errors
                self.assertEqual(list(errors), [field])
        self.assertEqual(self.stored(schedule).version, 1)

    # Its action

    def test_it_is_sent_now_to_its_recipients_whatever_its_time(self):
        many = self.schedule(recipients=[str(self.seller.pk), str(self.reader.pk)])
        own = self.schedule(name="Off", is_active=False)
        left = self.schedule(name="Not chosen")
        due = self.stored(many).next_at
        answer = self.act("send_now", many, own)
        self.assertEqual(self.messages(answer), ["E-mails on their way: 3."])
        people = (self.admin, self.reader, self.seller)
        self.assertEqual(self.sent(), sorted(user.email for user in people))
        self.assertEqual(
            {message.subject for message in mail.outbox},
            {"Sources by yield: Weekly", "Sources by yield: Off"},
        )
        self.assertFalse(Letter.objects.filter(about__name=left.name).exists())
        self.assertEqual(self.stored(many).next_at, due)
        self.assertEqual(self.stored(many).version, 1)

    def test_whoever_edits_their_own_sends_these_alone(self):
        role = make_role(self.organization, "clerk", {**OWN, "view": "all"})
        clerk = make_user(self.organization, "clerk", role, is_staff=True)
        mine = self.schedule(name="Mine", owner=clerk)
        other = self.schedule(name="Other")
        self.client.force_login(clerk)
        self.assertContains(self.page(PAGES), "Other")
        answer = self.act("send_now", mine, other)
        self.assertEqual(self.messages(answer), ["E-mails on their way: 1."])
        self.assertEqual(self.sent(), [clerk.email])

    def test_who_only_looks_is_offered_no_sending_and_sends_nothing(self):
        schedule = self.schedule()
        self.client.force_login(self.reader)
        self.assertNotIn("send_now", self.offered())
        self.act("send_now", schedule)
        self.assertFalse(Letter.objects.exists())

    def test_what_is_deleted_is_not_sent(self):
        schedule = self.schedule()
        self.delete(schedule)
        answer = self.act("send_now", schedule, query="?deleted=yes")
        self.assertEqual(self.messages(answer), ["E-mails on their way: 0."])
        self.assertFalse(Letter.objects.exists())

    def test_to_whom_the_recipients_are_hidden_nothing_is_sent(self):
        limits = {"reportschedule": {"hidden": ["recipients"]}}
        role = make_role(self.organization, "blind", ALL, limits)
        blind = make_user(self.organization, "blind", role, is_staff=True)
        schedule = self.schedule(recipients=[str(self.seller.pk)])
        self.client.force_login(blind)
        self.assertIn("export_selected", self.offered())
        self.assertNotIn("send_now", self.offered())
        self.act("send_now", schedule)
        self.assertFalse(Letter.objects.exists())

    def test_what_all_records_have_is_offered_beside_it(self):
        schedule = self.schedule()
        every = {"export_selected", "change_in_bulk", "restore_selected"}
        self.assertEqual(self.offered() - {""}, {"send_now", "delete_selected", *every})
        for action in ("export_selected", "change_in_bulk"):
            self.assertContains(self.act(action, schedule), 'name="apply"')
        self.delete(schedule)
        self.act("restore_selected", schedule, query="?deleted=yes")
        self.assertIsNone(self.stored(schedule).deleted_at)
