import logging

from django.contrib.auth import get_user_model
from django.test import TestCase, tag

from contact_management.models import Contact, Tag
from core import jobs, undo
from core.models import Change, ChangeSet, Job, JobError, Letter, Organization
from core.testing import ALL, PASSWORD, Cast, make_role, make_user, system_changes
from user_management.models import Role, Team
from user_management.services import create_organization

User = get_user_model()
CONTACTS = "/admin/contact_management/contact/"
TAGS = "/admin/contact_management/tag/"
USERS = "/admin/user_management/user/"
ROLES = "/admin/user_management/role/"
TEAMS = "/admin/user_management/team/"
CHANGE_SETS = "/admin/core/changeset/"
JOBS = "/admin/core/job/"
LETTERS = "/admin/core/letter/"
ORGANIZATIONS = "/admin/core/organization/"


class AdminTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.admin = create_organization("Royal Society", "admin@example.com", PASSWORD)
        cls.organization = cls.admin.organization
        role = Role.objects.get(organization=cls.organization, name="read_only")
        cls.reader = make_user(cls.organization, "reader", role, is_staff=True)
        role = Role.objects.get(organization=cls.organization, name="sales_rep")
        cls.seller = make_user(cls.organization, "seller", role, is_staff=True)
        cls.elsewhere = Cast()

    def setUp(self):
        self.client.force_login(self.admin)

    def make(self, model=Contact, organization=None, **fields):
        record = model()
        if model is Contact:
            fields = {"last_name": "King", "owner": self.admin, **fields}
        with system_changes(organization or self.organization) as changes:
            changes.save(record, **fields)
        return record

    def stored(self, record):
        return type(record)._base_manager.get(pk=record.pk)

    def page(self, path, status=200):
        response = self.client.get(path)
        self.assertEqual(response.status_code, status, path)
        return response

    def form(self, path) -> dict:
        """What a browser would send back of the form on this page, unchanged."""
        form = self.page(path).context["adminform"].form
        data = {}
        for bound in form:
            widget, value = bound.field.widget, bound.value()
            if hasattr(widget, "decompress"):
                parts = widget.decompress(value)
                for n, part in enumerate(parts):
                    data[f"{bound.html_name}_{n}"] = "" if part is None else part
                continue
            if value is None or value is False:
                continue
            data[bound.html_name] = "on" if value is True else value
        return data

    def send(self, path, **fields):
        """Open the form, fill these fields in, send it."""
        return self.client.post(path, {**self.form(path), **fields})

    def assertSaved(self, response):
        errors = response.context and response.context.get("errors")
        self.assertEqual(response.status_code, 302, errors)

    def assertFormError(self, response, field, text):
        self.assertEqual(response.status_code, 200)
        errors = response.context["adminform"].form.errors
        self.assertIn(text, str(errors.get(field)), errors)

    def last_change(self, record) -> Change:
        change = Change.objects.filter(record_id=record.pk).last()
        self.assertEqual(change.change_set.source, "admin")
        self.assertEqual(change.change_set.actor, self.admin)
        return change


@tag("once")
class PageTests(AdminTestCase):
    def test_every_page_of_every_model_answers(self):
        contact = self.make(email="ada@example.com", tags=["vip"])
        tag = self.make(Tag, name="vip", owner=self.admin)
        team = self.make(Team, name="Sales")
        role = self.make(Role, name="own role", rights={"tag": {"view": "own"}})
        change_set = ChangeSet.objects.filter(organization=self.organization).first()
        job = Job.objects.create(
            organization=self.organization, owner=self.admin, kind="import"
        )
        JobError.objects.create(job=job, code="x", message="y", line=3)
        self.page("/admin/")
        for path, record, add, delete in (
            (CONTACTS, contact, True, True),
            (TAGS, tag, True, True),
            (USERS, self.admin, True, False),
            (ROLES, role, True, False),
            (TEAMS, team, True, False),
            (CHANGE_SETS, change_set, False, False),
            (JOBS, job, False, False),
            (ORGANIZATIONS, self.organization, False, False),
        ):
            with self.subTest(path):
                self.page(path)
            with self.subTest(f"{path} change"):
                self.page(f"{path}{record.pk}/change/")
            with self.subTest(f"{path} add"):
                self.page(f"{path}add/", 200 if add else 403)
            with self.subTest(f"{path} delete"):
                self.page(f"{path}{record.pk}/delete/", 200 if delete else 403)
            with self.subTest(f"{path} search"):
                self.page(f"{path}?q=x")
        for path, record in (
            (CONTACTS, contact),
            (TAGS, tag),
            (USERS, self.admin),
            (ROLES, role),
            (TEAMS, team),
        ):
            with self.subTest(f"{path} history"):
                self.page(f"{path}{record.pk}/history/")
        for app in ("core", "user_management", "contact_management"):
            with self.subTest(app):
                self.page(f"/admin/{app}/")

    def test_lists_are_searched_and_filtered(self):
        self.make(last_name="King", status="active")
        self.make(last_name="Boole", status="inactive")
        for query, found, missing in (
            ("q=king", "King", "Boole"),
            ("status__exact=inactive", "Boole", "King"),
        ):
            with self.subTest(query):
                text = self.page(f"{CONTACTS}?{query}").content.decode()
                rows = text.partition("<tbody")[2]
                self.assertIn(found, rows)
                self.assertNotIn(missing, rows)

    def test_filters_stand_once(self):
        for path in (CONTACTS, TAGS):
            with self.subTest(path):
                filters = self.page(path).context["cl"].list_filter
                self.assertEqual(len(filters), len(set(map(str, filters))))

    def test_pages_that_are_not_there_lead_home(self):
        for path in (
            f"{CONTACTS}not-a-uuid/change/",
            f"{CONTACTS}01a206e0-3b1a-77b5-9293-90626306d186/change/",
        ):
            with self.subTest(path):
                self.assertRedirects(self.client.get(path), "/admin/")

    def test_the_history_shows_each_change_with_its_maker(self):
        contact = self.make(job_title="Clerk")
        self.send(f"{CONTACTS}{contact.pk}/change/", job_title="<b>Countess</b>")
        text = self.page(f"{CONTACTS}{contact.pk}/history/").content.decode()
        self.assertIn("Clerk", text)
        self.assertIn("&lt;b&gt;Countess&lt;/b&gt;", text)
        self.assertIn("admin@example.com", text)
        self.assertNotIn("<b>Countess", text)

    def test_no_page_shows_a_password(self):
        for suffix in ("change/", "history/", "password/"):
            with self.subTest(suffix):
                text = self.page(f"{USERS}{self.admin.pk}/{suffix}").content.decode()
                self.assertNotIn(self.admin.password, text)
                self.assertNotIn(self.admin.password.split("$")[-1], text)
        self.assertNotIn(self.admin.password, self.page(USERS).content.decode())


class OddInputTests(AdminTestCase):
    """What no page of the admin sends by itself."""

    def test_no_address_of_a_list_breaks_it(self):
        logging.disable(logging.ERROR)
        self.addCleanup(logging.disable, logging.NOTSET)
        contact = self.make()
        for query in (
            "status__exact=%00",
            "created_at__year=0",
            "created_at__year=99999999999999999999",
            "created_at__gte=abc",
            "notes__regex=((((",
            "owner__password__startswith=a",
            "owner__id__exact=abc",
            "deleted=zzz",
            "o=999&p=abc",
            "q=%00",
            "_to_field=password",
        ):
            for path in (CONTACTS, CHANGE_SETS, JOBS, USERS):
                with self.subTest(f"{path}?{query}"):
                    response = self.client.get(f"{path}?{query}", follow=True)
                    self.assertIn(response.status_code, (200, 400))
        self.assertEqual(self.stored(contact).version, 1)

    def test_an_action_on_what_is_no_id_acts_on_nothing(self):
        contact = self.make()
        for action in ("delete_selected", "restore_selected"):
            for pk in ("abc", "\0", ""):
                with self.subTest(f"{action} {pk!r}"):
                    body = {"action": action, "_selected_action": [pk], "post": "yes"}
                    response = self.client.post(CONTACTS, body, follow=True)
                    self.assertEqual(response.status_code, 200)
        self.assertEqual(self.stored(contact).version, 1)

    def test_json_that_cannot_be_kept_is_an_error_of_the_form(self):
        for text in (
            '{"a": "\\ud800"}',
            '{"a": "\\u0000"}',
            '{"a": NaN}',
            '{"a": 1e400}',
            '{"a": 1, "a": 2}',
            "[" * 1000,
        ):
            for field in ("custom_fields", "external_ids"):
                with self.subTest(f"{field}: {text[:20]}"):
                    response = self.send(
                        f"{CONTACTS}add/", **{"last_name": "King", field: text}
                    )
                    self.assertEqual(response.status_code, 200)
                    errors = response.context["adminform"].form.errors
                    self.assertEqual(set(errors), {field})
        self.assertFalse(Contact.objects.exists())


@tag("once")
class WriteTests(AdminTestCase):
    def test_a_contact_is_added_with_its_owner_and_journalled(self):
        response = self.send(
            f"{CONTACTS}add/", last_name="King", phone="(415) 555-2671"
        )
        self.assertSaved(response)
        contact = Contact.objects.get()
        self.assertEqual(
            (contact.last_name, contact.phone_e164), ("King", "+14155552671")
        )
        self.assertEqual(contact.organization, self.organization)
        self.assertEqual(contact.owner, self.admin)
        self.assertEqual(self.last_change(contact).verb, "create")

    def test_a_contact_is_changed_by_what_was_filled_in_only(self):
        contact = self.make(job_title="Clerk", tags=["vip"])
        response = self.send(f"{CONTACTS}{contact.pk}/change/", job_title="Countess")
        self.assertSaved(response)
        stored = self.stored(contact)
        self.assertEqual((stored.job_title, stored.version), ("Countess", 2))
        change = self.last_change(contact)
        self.assertEqual(
            (change.verb, change.before, change.after),
            ("update", {"job_title": "Clerk"}, {"job_title": "Countess"}),
        )

    def test_an_unchanged_form_changes_nothing(self):
        contact = self.make(
            tags=["vip"], external_ids={"x": "1"}, website="https://example.com"
        )
        self.assertSaved(self.send(f"{CONTACTS}{contact.pk}/change/"))
        self.assertEqual(self.stored(contact).version, 1)
        self.assertEqual(Change.objects.filter(record_id=contact.pk).count(), 1)

    def test_a_form_that_is_out_of_date_is_refused(self):
        contact = self.make()
        path = f"{CONTACTS}{contact.pk}/change/"
        data = self.form(path)
        with system_changes(self.organization) as changes:
            changes.save(self.stored(contact), city="London")
        for shown in (data["shown_version"], "", "7"):
            with self.subTest(shown):
                body = {**data, "job_title": "Countess", "shown_version": shown}
                response = self.client.post(path, body)
                self.assertFormError(response, "__all__", "Somebody changed this")
                stored = self.stored(contact)
                self.assertEqual((stored.job_title, stored.city), ("", "London"))
                self.assertEqual(stored.version, 2)

    def test_a_taken_e_mail_is_an_error_of_the_form(self):
        self.make(email="ada@example.com")
        other = self.make(last_name="Boole")
        for path in (f"{CONTACTS}add/", f"{CONTACTS}{other.pk}/change/"):
            for email in ("ada@example.com", "ADA@example.com"):
                with self.subTest(f"{path} {email}"):
                    response = self.send(path, last_name="Boole", email=email)
                    self.assertEqual(response.status_code, 200)
                    self.assertTrue(response.context["adminform"].form.errors)
        self.assertEqual(Contact.objects.count(), 2)
        self.assertEqual(self.stored(other).version, 1)

    def test_wrong_values_are_errors_of_the_form(self):
        contact = self.make()
        path = f"{CONTACTS}{contact.pk}/change/"
        for field, value in (
            ("email", "nonsense"),
            ("status", "asleep"),
            ("tags", "x" * 101),
            ("tags", ", ".join(str(n) for n in range(51))),
            ("external_ids", "[]"),
            ("custom_fields", "[]"),
            ("custom_fields", "NaN"),
            ("website", "no link"),
            ("owner", str(self.elsewhere.carol.pk)),
            ("last_name", "x" * 101),
        ):
            version = self.stored(contact).version
            with self.subTest(f"{field}={value[:20]}"):
                response = self.send(path, **{field: value})
                self.assertEqual(response.status_code, 200)
                self.assertIn(field, response.context["adminform"].form.errors)
                self.assertEqual(self.stored(contact).version, version)
        response = self.send(path, last_name="")
        self.assertFormError(response, "__all__", "at least one of")

    def test_a_contact_is_deleted_softly_and_restored(self):
        contact = self.make()
        response = self.client.post(f"{CONTACTS}{contact.pk}/delete/", {"post": "yes"})
        self.assertRedirects(response, CONTACTS)
        self.assertIsNotNone(self.stored(contact).deleted_at)
        self.assertEqual(self.last_change(contact).verb, "delete")
        rows = self.page(CONTACTS).context["cl"].result_list
        self.assertEqual(list(rows), [])
        rows = self.page(f"{CONTACTS}?deleted=yes").context["cl"].result_list
        self.assertEqual(list(rows), [contact])
        body = {"action": "restore_selected", "_selected_action": [str(contact.pk)]}
        response = self.client.post(f"{CONTACTS}?deleted=yes", body)
        self.assertEqual(response.status_code, 302)
        self.assertIsNone(self.stored(contact).deleted_at)
        self.assertEqual(self.last_change(contact).verb, "restore")

    def test_several_are_deleted_together_in_one_change_set(self):
        contacts = [self.make(last_name=f"King {n}") for n in range(3)]
        body = {
            "action": "delete_selected",
            "_selected_action": [str(c.pk) for c in contacts[:2]],
        }
        self.assertEqual(self.client.post(CONTACTS, body).status_code, 200)
        response = self.client.post(CONTACTS, {**body, "post": "yes"})
        self.assertEqual(response.status_code, 302)
        self.assertEqual(list(Contact.objects.live()), [contacts[2]])
        sets = {self.last_change(c).change_set_id for c in contacts[:2]}
        self.assertEqual(len(sets), 1)

    def test_a_restoration_whose_unique_value_is_taken_is_said_so(self):
        first = self.make(email="ada@example.com")
        with system_changes(self.organization) as changes:
            changes.delete(first)
        self.make(email="ada@example.com")
        body = {"action": "restore_selected", "_selected_action": [str(first.pk)]}
        response = self.client.post(f"{CONTACTS}?deleted=yes", body, follow=True)
        self.assertEqual(response.status_code, 200)
        self.assertIn("has this email", str(list(response.context["messages"])))
        self.assertIsNotNone(self.stored(first).deleted_at)

    def test_a_deleted_record_is_not_deleted_again(self):
        contact = self.make()
        with system_changes(self.organization) as changes:
            changes.delete(contact)
        moment = self.stored(contact).deleted_at
        self.client.post(f"{CONTACTS}{contact.pk}/delete/", {"post": "yes"})
        self.assertEqual(self.stored(contact).deleted_at, moment)

    def test_a_tag_is_added_changed_and_deleted(self):
        self.assertSaved(self.send(f"{TAGS}add/", name="vip"))
        tag = Tag.objects.get()
        self.assertEqual(self.last_change(tag).verb, "create")
        path = f"{TAGS}{tag.pk}/"
        self.assertSaved(self.send(f"{path}change/", color="gold"))
        self.assertEqual(self.last_change(tag).after, {"color": "gold"})
        response = self.send(f"{TAGS}add/", name="vip")
        self.assertEqual(response.status_code, 200)
        self.assertTrue(response.context["adminform"].form.errors)
        self.client.post(f"{path}delete/", {"post": "yes"})
        self.assertEqual(self.last_change(tag).verb, "delete")
        self.assertEqual(Tag.objects.live().count(), 0)


@tag("once")
class PeopleTests(AdminTestCase):
    def test_a_user_is_added_with_a_password_and_journalled(self):
        response = self.send(
            f"{USERS}add/",
            email="New@Example.com",
            first_name="Nina",
            role=str(self.seller.role.pk),
            usable_password="true",
            password1=PASSWORD,
            password2=PASSWORD,
        )
        self.assertSaved(response)
        user = User.objects.get(email="new@example.com")
        self.assertTrue(user.check_password(PASSWORD))
        self.assertEqual(
            (user.organization, user.role, user.is_staff),
            (self.organization, self.seller.role, False),
        )
        change = self.last_change(user)
        self.assertEqual(change.verb, "create")

    def test_a_taken_e_mail_is_an_error_of_the_form(self):
        users = User.objects.count()
        for email in (
            self.reader.email,
            self.elsewhere.carol.email,
            self.reader.email.upper(),
        ):
            with self.subTest(email):
                response = self.send(
                    f"{USERS}add/",
                    email=email,
                    role=str(self.seller.role.pk),
                    usable_password="true",
                    password1=PASSWORD,
                    password2=PASSWORD,
                )
                self.assertEqual(response.status_code, 200)
                self.assertTrue(response.context["adminform"].form.errors)
                self.assertEqual(User.objects.count(), users)

    def test_whoever_gets_no_password_is_invited(self):
        response = self.send(
            f"{USERS}add/",
            email="new@example.com",
            role=str(self.seller.role.pk),
            manager=str(self.admin.pk),
        )
        self.assertSaved(response)
        user = User.objects.get(email="new@example.com")
        self.assertEqual(
            (user.is_active, user.is_invited, user.manager, user.has_usable_password()),
            (False, True, self.admin, False),
        )
        self.assertEqual(self.last_change(user).verb, "create")
        [letter] = Letter.objects.all()
        self.assertEqual((letter.user, letter.kind), (user, "invitation"))
        self.assertTrue(letter.link.startswith("http://testserver/account/invitation/"))
        self.page(f"{USERS}{user.pk}/change/")
        self.assertContains(self.page(LETTERS), "new@example.com")
        self.page(f"{LETTERS}{letter.pk}/change/")

    def test_invitations_are_sent_again_and_withdrawn_from_the_list(self):
        self.send(
            f"{USERS}add/", email="new@example.com", role=str(self.seller.role.pk)
        )
        user = User.objects.get(email="new@example.com")

        def act(action, *users):
            ids = [str(user.pk) for user in users]
            body = {"action": action, "_selected_action": ids}
            return self.client.post(USERS, body, follow=True)

        act("invite_selected", user)
        self.assertEqual(Letter.objects.filter(ended_at=None).count(), 1)
        self.assertEqual(Letter.objects.count(), 2)
        refused = act("invite_selected", user, self.seller)
        self.assertContains(refused, "needs no invitation")
        self.assertEqual(Letter.objects.count(), 2)
        act("withdraw_selected", user, self.seller)
        self.assertFalse(self.stored(user).is_invited)
        self.assertEqual(self.last_change(user).after, {"is_invited": False})
        self.assertFalse(Letter.objects.filter(ended_at=None).exists())
        self.assertEqual(self.stored(self.seller).version, 1)

    def test_letters_are_for_whoever_manages_people(self):
        self.send(
            f"{USERS}add/", email="new@example.com", role=str(self.seller.role.pk)
        )
        letter = Letter.objects.get()
        for user in (self.seller, self.elsewhere.carol):
            self.client.force_login(user)
            for path in (LETTERS, f"{LETTERS}{letter.pk}/change/"):
                self.assertIn(self.client.get(path).status_code, (302, 403))

    def test_a_weak_password_is_an_error_of_the_form(self):
        response = self.send(
            f"{USERS}add/",
            email="new@example.com",
            role=str(self.seller.role.pk),
            usable_password="true",
            password1="short",
            password2="short",
        )
        self.assertEqual(response.status_code, 200)
        self.assertIn("password2", response.context["adminform"].form.errors)
        self.assertFalse(User.objects.filter(email="new@example.com").exists())

    def test_a_user_is_changed_and_journalled(self):
        path = f"{USERS}{self.seller.pk}/change/"
        self.assertSaved(self.send(path, last_name="Boole"))
        change = self.last_change(self.seller)
        self.assertEqual(change.after, {"last_name": "Boole"})
        self.assertEqual(self.stored(self.seller).password, self.seller.password)

    def test_a_user_who_leaves_is_deactivated(self):
        path = f"{USERS}{self.seller.pk}/change/"
        data = self.form(path)
        del data["is_active"]
        self.assertSaved(self.client.post(path, data))
        self.assertIs(self.stored(self.seller).is_active, False)
        self.assertEqual(self.last_change(self.seller).after, {"is_active": False})

    def test_a_password_is_set_and_stays_out_of_the_journal(self):
        changes = Change.objects.count()
        response = self.client.post(
            f"{USERS}{self.seller.pk}/password/",
            {
                "usable_password": "true",
                "password1": "another-horse-battery",
                "password2": "another-horse-battery",
                "set-password": "1",
            },
        )
        self.assertEqual(response.status_code, 302)
        self.assertTrue(
            self.stored(self.seller).check_password("another-horse-battery")
        )
        self.assertEqual(Change.objects.count(), changes)

    def test_a_role_and_a_team_of_elsewhere_are_refused(self):
        path = f"{USERS}{self.seller.pk}/change/"
        for field, value in (
            ("role", self.elsewhere.alice.role.pk),
            ("team", self.elsewhere.team.pk),
        ):
            with self.subTest(field):
                response = self.send(path, **{field: str(value)})
                self.assertEqual(response.status_code, 200)
                self.assertIn(field, response.context["adminform"].form.errors)
        self.assertEqual(self.stored(self.seller).version, 1)

    def test_a_role_of_ones_own_is_made_and_changed(self):
        response = self.send(
            f"{ROLES}add/", name="Guest", rights='{"contact": {"view": "own"}}'
        )
        self.assertSaved(response)
        role = Role.objects.get(name="Guest")
        self.assertEqual(role.organization, self.organization)
        self.assertIs(role.built_in, False)
        response = self.send(
            f"{ROLES}{role.pk}/change/", rights='{"contact": {"view": "everybody"}}'
        )
        self.assertFormError(response, "rights", "no such right")
        self.assertEqual(self.stored(role).version, 1)

    def test_built_in_roles_are_shown_and_not_changed(self):
        role = self.admin.role
        path = f"{ROLES}{role.pk}/change/"
        self.page(path)
        response = self.client.post(
            path, {"name": "x", "rights": "{}", "shown_version": 1}
        )
        self.assertEqual(response.status_code, 403)
        self.assertEqual(self.stored(role).name, "administrator")

    def test_a_taken_name_of_a_team_is_an_error_of_the_form(self):
        self.assertSaved(self.send(f"{TEAMS}add/", name="Sales"))
        response = self.send(f"{TEAMS}add/", name="Sales")
        self.assertEqual(response.status_code, 200)
        self.assertTrue(response.context["adminform"].form.errors)
        self.assertEqual(Team.objects.filter(organization=self.organization).count(), 1)

    def test_the_organization_is_renamed_and_seen_alone(self):
        rows = self.page(ORGANIZATIONS).context["cl"].result_list
        self.assertEqual(list(rows), [self.organization])
        path = f"{ORGANIZATIONS}{self.organization.pk}/change/"
        self.assertSaved(
            self.send(path, name="The Royal Society", audit_retention_days="365")
        )
        stored = Organization.objects.get(pk=self.organization.pk)
        self.assertEqual(
            (stored.name, stored.audit_retention_days, stored.version),
            ("The Royal Society", 365, 2),
        )
        change = Change.objects.get(record_id=stored.pk, verb="update")
        self.assertEqual(
            change.after, {"name": "The Royal Society", "audit_retention_days": 365}
        )
        self.assertEqual(
            (change.change_set.source, change.change_set.actor), ("admin", self.admin)
        )

    def test_an_organization_keeps_its_logs_for_a_month_at_least(self):
        path = f"{ORGANIZATIONS}{self.organization.pk}/change/"
        response = self.send(path, audit_retention_days="29")
        self.assertEqual(response.status_code, 200)
        self.assertIn("audit_retention_days", response.context["adminform"].errors)
        stored = Organization.objects.get(pk=self.organization.pk)
        self.assertEqual((stored.audit_retention_days, stored.version), (None, 1))


class JournalTests(AdminTestCase):
    def edit(self, contact, **fields) -> ChangeSet:
        with ChangeSet.open(actor=self.admin, source="api") as changes:
            changes.save(self.stored(contact), **fields)
        return changes.change_set

    def test_change_sets_are_undone_by_a_job(self):
        contact = self.make()
        change_set = self.edit(contact, city="London")
        body = {"action": "undo_selected", "_selected_action": [str(change_set.pk)]}
        response = self.client.post(CHANGE_SETS, body)
        self.assertEqual(response.status_code, 302)
        job = Job.objects.get()
        self.assertEqual((job.kind, job.owner), (undo.KIND, self.admin))
        jobs.run(job.pk)
        self.assertEqual(self.stored(contact).city, "")
        self.page(f"{JOBS}{job.pk}/change/")

    def test_what_is_undone_already_is_said_so(self):
        contact = self.make()
        change_set = self.edit(contact, city="London")
        undo.undo(change_set, self.admin)
        body = {"action": "undo_selected", "_selected_action": [str(change_set.pk)]}
        response = self.client.post(CHANGE_SETS, body, follow=True)
        self.assertIn("undone already", str(list(response.context["messages"])))
        self.assertFalse(Job.objects.exists())

    def test_the_journal_cannot_be_changed(self):
        change_set = self.edit(self.make(), city="London")
        rows = list(ChangeSet.objects.values())
        path = f"{CHANGE_SETS}{change_set.pk}/"
        for suffix, body in (
            ("change/", {"reason": "x"}),
            ("delete/", {"post": "yes"}),
        ):
            with self.subTest(suffix):
                response = self.client.post(path + suffix, body)
                self.assertEqual(response.status_code, 403)
        self.assertEqual(list(ChangeSet.objects.values()), rows)

    def test_a_page_shows_the_changes_of_a_set(self):
        change_set = self.edit(self.make(), city="London")
        text = self.page(f"{CHANGE_SETS}{change_set.pk}/change/").content.decode()
        self.assertIn("London", text)
        self.assertIn("contact", text)


@tag("once")
class RightsTests(AdminTestCase):
    def test_only_staff_come_in(self):
        self.client.force_login(self.elsewhere.alice)
        self.assertEqual(self.client.get("/admin/").status_code, 302)
        self.client.logout()
        response = self.client.get(CONTACTS)
        self.assertRedirects(
            response, f"/admin/login/?next={CONTACTS}", target_status_code=302
        )

    def test_staff_sign_in_with_their_password(self):
        self.client.logout()
        address = "/account/login/?next=/admin/"
        self.assertRedirects(self.client.get("/admin/login/?next=/admin/"), address)
        body = {"login": "Admin@Example.com", "password": PASSWORD}
        self.assertRedirects(self.client.post(address, body), "/admin/")

    def test_records_of_other_organizations_are_not_there(self):
        theirs = self.make(
            organization=self.elsewhere.other_organization, owner=self.elsewhere.carol
        )
        job = Job.objects.create(
            organization=self.elsewhere.other_organization,
            owner=self.elsewhere.carol,
            kind="import",
        )
        change_set = ChangeSet.objects.get(changes__record_id=theirs.pk)
        for path, record in (
            (CONTACTS, theirs),
            (USERS, self.elsewhere.carol),
            (ROLES, self.elsewhere.carol.role),
            (TEAMS, self.elsewhere.team),
            (JOBS, job),
            (CHANGE_SETS, change_set),
            (ORGANIZATIONS, self.elsewhere.organization),
        ):
            with self.subTest(path):
                rows = self.page(path).context["cl"].result_list
                self.assertNotIn(record, list(rows))
                for suffix in ("change/", "history/", "delete/"):
                    response = self.client.get(f"{path}{record.pk}/{suffix}")
                    self.assertIn(response.status_code, (302, 403, 404))
        for suffix, body in (
            ("change/", {"last_name": "x", "shown_version": 1}),
            ("delete/", {"post": "yes"}),
        ):
            response = self.client.post(f"{CONTACTS}{theirs.pk}/{suffix}", body)
            self.assertIn(response.status_code, (302, 403, 404))
        body = {"action": "delete_selected", "_selected_action": [str(theirs.pk)]}
        self.client.post(CONTACTS, {**body, "post": "yes"})
        response = self.client.get(f"{USERS}{self.elsewhere.carol.pk}/password/")
        self.assertIn(response.status_code, (302, 403, 404))
        self.assertEqual(self.stored(theirs).version, 1)

    def test_a_reader_looks_and_changes_nothing(self):
        contact = self.make()
        before = Change.objects.count()
        self.client.force_login(self.reader)
        self.page(CONTACTS)
        self.page(f"{CONTACTS}{contact.pk}/change/")
        self.page(f"{CONTACTS}{contact.pk}/history/")
        body = {"last_name": "x", "shown_version": 1}
        for path, sent in (
            (f"{CONTACTS}{contact.pk}/change/", body),
            (f"{CONTACTS}add/", body),
            (f"{CONTACTS}{contact.pk}/delete/", {"post": "yes"}),
        ):
            with self.subTest(path):
                self.assertEqual(self.client.post(path, sent).status_code, 403)
        for action in ("delete_selected", "restore_selected"):
            with self.subTest(action):
                sent = {
                    "action": action,
                    "_selected_action": [str(contact.pk)],
                    "post": "yes",
                }
                self.client.post(CONTACTS, sent)
        self.assertEqual(Change.objects.count(), before)
        self.assertEqual(self.stored(contact).version, 1)

    def test_whoever_owns_some_changes_only_these(self):
        mine = self.make(owner=self.seller)
        theirs = self.make(last_name="Boole", owner=self.admin)
        self.client.force_login(self.seller)
        rows = self.page(CONTACTS).context["cl"].result_list
        self.assertEqual(list(rows), [mine])
        self.assertSaved(self.send(f"{CONTACTS}{mine.pk}/change/", city="London"))
        self.assertEqual(self.stored(mine).city, "London")
        response = self.client.post(
            f"{CONTACTS}{theirs.pk}/change/", {"last_name": "x", "shown_version": 1}
        )
        self.assertIn(response.status_code, (302, 403))
        self.assertEqual(self.stored(theirs).version, 1)

    def test_people_without_the_right_manage_nobody(self):
        self.client.force_login(self.seller)
        users = list(User.objects.order_by("pk").values())
        sent = {"email": "new@example.com", "role": str(self.admin.role.pk)}
        for path in (
            f"{USERS}add/",
            f"{USERS}{self.admin.pk}/change/",
            f"{USERS}{self.admin.pk}/password/",
            f"{ROLES}add/",
            f"{ROLES}{self.seller.role.pk}/change/",
            f"{TEAMS}add/",
            f"{ORGANIZATIONS}{self.organization.pk}/change/",
        ):
            with self.subTest(path):
                self.assertIn(self.client.post(path, sent).status_code, (302, 403))
        self.assertEqual(list(User.objects.order_by("pk").values()), users)

    def test_nobody_sets_the_password_of_an_account_that_may_do_more(self):
        rights = {"user": {"view": "all", "edit": "all"}}
        role = make_role(self.organization, "people", {}, **rights)
        self.client.force_login(
            make_user(self.organization, "keeper", role, is_staff=True)
        )
        sent = {"password1": "a-new-long-password", "password2": "a-new-long-password"}
        for method in (self.client.get, self.client.post):
            page = method(f"{USERS}{self.admin.pk}/password/", sent)
            self.assertEqual(page.status_code, 403)
        self.assertEqual(self.stored(self.admin).password, self.admin.password)

    def test_nobody_makes_themselves_an_administrator(self):
        """One's own profile may be edited; one's rights are not part of it."""
        self.client.force_login(self.seller)
        path = f"{USERS}{self.seller.pk}/change/"
        sent = {
            "email": self.seller.email,
            "role": str(self.admin.role.pk),
            "is_active": "on",
            "is_staff": "on",
            "timezone": "UTC",
            "language": "en",
            "shown_version": 1,
        }
        self.client.post(path, sent)
        self.assertEqual(self.stored(self.seller).role, self.seller.role)

    def test_e_mail_addresses_of_the_sign_in_are_not_shown(self):
        self.page("/admin/account/emailaddress/", 403)

    def test_a_role_may_be_limited_to_one_type(self):
        role = make_role(self.organization, "tagger", {}, tag=ALL)
        dora = make_user(self.organization, "dora", role, is_staff=True)
        self.client.force_login(dora)
        self.page(TAGS)
        self.page(CONTACTS, 403)
