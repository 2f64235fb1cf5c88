"""The pages as a person sees them, in a real browser: `./run_tests.sh browser`."""

import os
import re
import shutil
import time
from unittest import mock
from urllib.parse import urlsplit

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.staticfiles.testing import StaticLiveServerTestCase
from django.test import override_settings, tag
from playwright.sync_api import expect, sync_playwright

from contact_management.models import Contact, Tag
from core.models import ChangeSet, Job
from core.testing import PASSWORD, system_changes
from user_management.models import Role
from user_management.services import create_organization

EMAIL = "ada@example.com"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Nothing but the pages; as root Chromium has no sandbox.
ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]
# As long as everything else waits: a machine that is busy is no mistake.
expect.set_options(timeout=30_000)
# So long that no test meets the end of one.
PERIOD = 10**9
PLATFORM_AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@tag("browser")
@override_settings(MFA_TOTP_PERIOD=PERIOD)
class BrowserTestCase(StaticLiveServerTestCase):
    """Each page must do without errors in the console, and without any other host."""

    host = "localhost"  # passkeys want the name

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Playwright runs an event loop in this thread; Django would refuse to query.
        unsafe = mock.patch.dict(os.environ, DJANGO_ALLOW_ASYNC_UNSAFE="true")
        cls.enterClassContext(unsafe)
        playwright = cls.enterClassContext(sync_playwright())
        found = filter(None, map(shutil.which, BROWSERS))
        cls.browser = playwright.chromium.launch(
            executable_path=next(found), args=ARGUMENTS
        )
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.user = create_organization("Analytical Engines", EMAIL, PASSWORD)
        self.complaints = []
        self.addCleanup(lambda: self.assertEqual(self.complaints, []))
        context = self.browser.new_context(base_url=self.live_server_url)
        self.addCleanup(context.close)
        self.page = context.new_page()
        self.page.on("console", self.note_message)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self.note_request)

    def note_message(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(f"{self.page.url}: {message.text}")

    def note_request(self, request):
        address = urlsplit(request.url)
        here = address.netloc == urlsplit(self.live_server_url).netloc
        if not here and address.scheme not in ("data", "blob"):
            self.complaints.append(f"{self.page.url} asks for {request.url}")

    # What a person does

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def give_password(self) -> None:
        self.page.goto("/admin/")
        self.page.get_by_label("Email").fill(EMAIL)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.press("Sign In")

    def give_code(self, code: str) -> None:
        self.page.get_by_label("Code", exact=False).fill(code)
        self.press("Sign In")

    def sign_out(self) -> None:
        self.page.goto("/account/logout/")
        self.press("Sign Out")
        expect(self.page).to_have_url(re.compile("/account/login/"))

    def confirm(self) -> None:
        """Type the password once more, if a page wants it."""
        if "/reauthenticate/" in self.page.url:
            self.page.get_by_label("Password").fill(PASSWORD)
            self.press("Confirm")

    def set_up_codes(self) -> tuple[str, list[str]]:
        """Set up an authenticator app: its secret, and the recovery codes."""
        self.page.goto("/account/2fa/totp/activate/")
        self.confirm()
        secret = self.page.get_by_label("Authenticator secret").input_value()
        self.page.get_by_label("Authenticator code").fill(code_now(secret))
        self.press("Activate")
        codes = self.page.get_by_label("Unused codes").input_value().split()
        return secret, codes

    def assertInAdmin(self):
        expect(self.page).to_have_url(f"{self.live_server_url}/admin/")
        expect(self.page.get_by_text("Site administration").first).to_be_visible()

    def assertNotInAdmin(self):
        self.page.goto("/admin/")
        expect(self.page).to_have_url(re.compile("/account/"))


def code_now(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // PERIOD))


class SignInTests(BrowserTestCase):
    def test_a_wrong_password_is_refused(self):
        self.page.goto("/admin/")
        self.page.get_by_label("Email").fill(EMAIL)
        self.page.get_by_label("Password").fill("wrong-horse-battery")
        self.press("Sign In")
        expect(self.page.get_by_text("are not correct")).to_be_visible()
        self.assertNotInAdmin()

    def test_an_authenticator_app_is_set_up_and_its_code_asked_for(self):
        self.give_password()
        self.assertInAdmin()
        secret, codes = self.set_up_codes()
        self.assertEqual(len(set(codes)), 10)
        self.sign_out()

        self.give_password()
        expect(self.page).to_have_url(re.compile("/account/2fa/authenticate/"))
        self.give_code("000000")
        expect(self.page.get_by_text("Incorrect code")).to_be_visible()
        self.assertNotInAdmin()
        self.give_code(code_now(secret))
        self.assertInAdmin()

    def test_a_recovery_code_signs_in_once(self):
        self.give_password()
        _, codes = self.set_up_codes()
        self.sign_out()
        self.give_password()
        self.give_code(codes[0])
        self.assertInAdmin()
        self.page.goto("/account/2fa/recovery-codes/")
        self.confirm()
        left = self.page.get_by_label("Unused codes").input_value().split()
        self.assertEqual(left, codes[1:])
        self.sign_out()
        self.give_password()
        self.give_code(codes[0])
        expect(self.page.get_by_text("Incorrect code")).to_be_visible()
        self.assertNotInAdmin()

    def test_a_passkey_signs_in_without_a_password(self):
        devices = self.page.context.new_cdp_session(self.page)
        devices.send("WebAuthn.enable")
        devices.send(
            "WebAuthn.addVirtualAuthenticator", {"options": PLATFORM_AUTHENTICATOR}
        )
        self.give_password()
        self.page.goto("/account/2fa/webauthn/add/")
        self.confirm()
        self.page.get_by_label("Name").fill("Laptop")
        self.page.get_by_label("Passwordless").check()
        self.press("Add")
        expect(self.page.get_by_text("Security key added.")).to_be_visible()
        self.sign_out()

        self.assertNotInAdmin()
        self.press("Sign in with a passkey")
        self.assertInAdmin()
        self.sign_out()

        # And as the second step after a password.
        self.give_password()
        expect(self.page).to_have_url(re.compile("/account/2fa/authenticate/"))
        self.press("Use a security key")
        self.assertInAdmin()

    def test_a_role_that_requires_2fa_leads_to_its_set_up_first(self):
        role = Role.objects.get(pk=self.user.role_id)
        Role._base_manager.filter(pk=role.pk).update(requires_two_factor=True)
        self.give_password()
        for path in ("/admin/", "/admin/contact_management/contact/"):
            self.page.goto(path)
            expect(self.page).to_have_url(f"{self.live_server_url}/account/2fa/")
            expect(self.page.get_by_text("requires two-factor")).to_be_visible()
        refused = self.page.request.get("/api/users/me/")
        self.assertEqual(
            (refused.status, refused.json()["code"]), (403, "two_factor_required")
        )
        self.set_up_codes()
        self.page.goto("/admin/")
        self.assertInAdmin()
        self.assertEqual(self.page.request.get("/api/users/me/").status, 200)


class PageTests(BrowserTestCase):
    def setUp(self):
        super().setUp()
        organization = self.user.organization
        with ChangeSet.open(actor=self.user, source=ChangeSet.Source.API) as changes:
            changes.save(Contact(), last_name="Lovelace", tags=["vip"])
            changes.save(Tag(), name="vip")
        Job.objects.create(
            organization=organization, owner=self.user, kind="import", status="done"
        )
        with system_changes(organization) as changes:
            changes.save(organization, country="GB")
        self.give_password()

    def open(self, path: str) -> None:
        response = self.page.goto(path)
        self.assertEqual(response.status, 200, path)

    def links(self, pattern: str) -> list[str]:
        found = self.page.locator("a[href]").evaluate_all(
            "links => links.map(link => new URL(link.href).pathname)"
        )
        return sorted({path for path in found if re.fullmatch(pattern, path)})

    def test_every_page_of_the_admin_opens(self):
        self.open("/admin/")
        lists = self.links(r"/admin/\w+/\w+/")
        self.assertIn("/admin/contact_management/contact/", lists)
        seen = []
        for path in lists:
            self.open(path)
            seen += self.links(f"{path}add/") + self.links(f"{path}[^/]+/change/")[:1]
        for path in seen:
            self.open(path)
            for past in self.links(r"/admin/.+/history/"):
                self.open(past)
        for app, model in (
            ("contact_management", "contact"),
            ("lead_management", "lead"),
        ):
            self.assertIn(f"/admin/{app}/{model}/add/", seen)
        self.assertTrue(any(path.endswith("/change/") for path in seen), seen)

    def test_the_documents_of_the_api_open(self):
        for path in ("/api/docs/", "/api/docs/sign-in/"):
            self.open(path)
            self.page.locator(".opblock-tag").first.click()
            expect(self.page.locator(".opblock").first).to_be_visible()

    def test_the_pages_of_the_account_open(self):
        for path in (
            "/account/",
            "/account/sessions/",
            "/account/password/change/",
            "/account/logout/",
        ):
            self.open(path)
            expect(self.page.locator("h1")).to_be_visible()
        self.sign_out()
        for path in ("/account/login/", "/account/password/reset/"):
            self.open(path)
            expect(self.page.get_by_text("sign up")).to_have_count(0)

    def test_somebody_who_is_not_staff_comes_to_their_account(self):
        self.sign_out()
        with system_changes(self.user.organization) as changes:
            changes.save(self.user, is_staff=False)
        self.page.goto("/account/login/")
        self.page.get_by_label("Email").fill(EMAIL)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.press("Sign In")
        expect(self.page).to_have_url(f"{self.live_server_url}/account/2fa/")
