import hashlib
import struct
import zlib
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase, override_settings
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rest_framework.test import APIClient

from core.models import Change
from core.testing import Cast, client_of
from user_management import avatars
from user_management.models import User
from user_management.preferences import default_notifications

ME = "/api/users/me/"
AVATAR = f"{ME}avatar/"


class ProfileTestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.cast = Cast()

    def setUp(self):
        self.alice = client_of(self.stored())

    def stored(self) -> User:
        return User.objects.get(pk=self.cast.alice.pk)


class ProfileTests(ProfileTestCase):
    def test_people_keep_their_own_profile(self):
        profile = {
            "phone": "(415) 555-2671",
            "department": "Engines",
            "job_title": "Analyst",
            "bio": "Wrote the first program.",
            "timezone": "Europe/London",
            "language": "fr",
        }
        answer = self.alice.patch(ME, profile)
        self.assertEqual(answer.status_code, 200, answer.content)
        shown = answer.json()
        self.assertEqual({name: shown[name] for name in profile}, profile)
        self.assertEqual(shown["phone_e164"], "+14155552671")
        colleague = client_of(self.cast.bob).get(f"/api/users/{shown['id']}/").json()
        self.assertEqual(colleague["department"], "Engines")
        self.assertNotIn("dashboard", colleague)

    def test_notifications_are_whole_whatever_part_was_chosen(self):
        self.assertEqual(
            self.alice.get(ME).json()["notifications"], default_notifications()
        )
        choice = {"mention": {"email": False}}
        answer = self.alice.patch(ME, {"notifications": choice})
        wanted = default_notifications()
        wanted["mention"]["email"] = False
        self.assertEqual(answer.json()["notifications"], wanted)
        self.assertEqual(self.stored().notifications, wanted)

    def test_a_dashboard_is_the_frontends_own_object(self):
        dashboard = {"tiles": [{"kind": "funnel", "size": 2}], "theme": None}
        answer = self.alice.patch(ME, {"dashboard": dashboard})
        self.assertEqual(answer.json()["dashboard"], dashboard)
        change = Change.objects.filter(record_id=self.cast.alice.pk).latest("id")
        self.assertEqual(change.after, {"dashboard": dashboard})

    def test_bad_values_name_the_field(self):
        event = "mention"
        for field, value, code in (
            ("notifications", [], "not_an_object"),
            ("notifications", None, "null"),
            ("notifications", {"surprise": {}}, "unknown_field"),
            ("notifications", {event: True}, "not_an_object"),
            ("notifications", {event: {"sms": True}}, "unknown_field"),
            ("notifications", {event: {"email": 1}}, "invalid"),
            ("notifications", {event: {"email": None}}, "invalid"),
            ("dashboard", [], "not_an_object"),
            ("dashboard", "x", "not_an_object"),
            ("dashboard", {"x": "x" * 20_000}, "max_length"),
            ("language", "xx", "invalid"),
            ("language", "", "blank"),
            ("phone", "1" * 51, "max_length"),
            ("bio", "x" * 2001, "max_length"),
            ("avatar", "x", "read_only"),
            ("phone_e164", "+1", "read_only"),
            ("manager", str(self.cast.bob.pk), "read_only"),
        ):
            with self.subTest(f"{field} {value!r:.40}"):
                answer = self.alice.patch(ME, {field: value})
                self.assertEqual(answer.status_code, 400, answer.content)
                errors = [(e["field"], e["code"]) for e in answer.json()["errors"]]
                self.assertEqual(errors, [(field, code)])
        self.assertEqual(self.stored().version, 1)


def picture(size=(300, 200), form="PNG", mode="RGB", **options) -> bytes:
    out = BytesIO()
    Image.new(mode, size, "red").save(out, form, **options)
    return out.getvalue()


def bomb(width=50_000, height=50_000) -> bytes:
    """A PNG whose head promises more than anybody unpacks."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, data)
        for kind, data in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    )


class AvatarTests(ProfileTestCase):
    def setUp(self):
        super().setUp()
        folder = self.enterContext(TemporaryDirectory())
        self.enterContext(override_settings(MEDIA_ROOT=folder))

    def put(self, content=None, client=None, name="me.png"):
        file = SimpleUploadedFile(name, picture() if content is None else content)
        return (client or self.alice).put(AVATAR, {"file": file}, format="multipart")

    def address(self, user=None) -> str:
        return f"/api/users/{(user or self.cast.alice).pk}/avatar/"

    def files(self) -> list[str]:
        folder = Path(settings.MEDIA_ROOT) / "avatars" / str(self.cast.alice.pk)
        return sorted(path.name for path in folder.glob("*"))

    def test_a_picture_becomes_a_small_square_that_colleagues_see(self):
        answer = self.put()
        self.assertEqual(answer.status_code, 200, answer.content)
        digest = answer.json()["avatar"]
        shown = client_of(self.cast.reader).get(self.address())
        self.assertEqual(shown.status_code, 200)
        self.assertEqual(shown["Content-Type"], "image/webp")
        self.assertEqual(shown["X-Content-Type-Options"], "nosniff")
        self.assertEqual(shown["ETag"], f'"{digest}"')
        self.assertEqual(hashlib.sha256(shown.content).hexdigest(), digest)
        image = Image.open(BytesIO(shown.content))
        self.assertEqual((image.format, image.size), ("WEBP", (256, 256)))
        known = self.alice.get(self.address(), headers={"If-None-Match": shown["ETag"]})
        self.assertEqual((known.status_code, known.content), (304, b""))
        change = Change.objects.filter(record_id=self.cast.alice.pk).latest("id")
        self.assertEqual(change.after, {"avatar": digest})

    def test_only_colleagues_see_it(self):
        self.put()
        elsewhere = client_of(self.cast.carol).get(self.address())
        nobody = client_of(self.cast.carol).get(self.address(self.cast.carol))
        self.assertEqual((elsewhere.status_code, nobody.status_code), (404, 404))
        self.assertEqual(elsewhere.content, nobody.content)
        self.assertEqual(APIClient().get(self.address()).status_code, 401)
        self.assertEqual(self.put(client=APIClient()).status_code, 401)

    def test_every_format_loses_what_else_is_in_the_file(self):
        info = PngInfo()
        info.add_text("Comment", "secret place")
        exif = Image.Exif()
        exif[0x010E] = "secret place"
        for content in (
            picture(pnginfo=info),
            picture(form="JPEG", exif=exif),
            picture(form="WEBP", exif=exif.tobytes()),
            picture(mode="P"),
            picture(mode="LA"),
            picture(form="JPEG", mode="CMYK"),
            picture(size=(1, 1)),
        ):
            with self.subTest(content[:30]):
                answer = self.put(content)
                self.assertEqual(answer.status_code, 200, answer.content)
                self.assertNotIn(b"secret", self.alice.get(self.address()).content)

    def test_what_is_no_picture_or_too_large_is_refused(self):
        whole = picture()
        for content, code in (
            (b"", "empty"),
            (b"x" * 100, "invalid_image"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "invalid_image"),
            (picture(form="GIF"), "invalid_image"),
            (picture(form="TIFF"), "invalid_image"),
            (whole[:60], "invalid_image"),
            (bomb(), "invalid_image"),
            (bomb(9000, 9000), "invalid_image"),
            (b"x" * (settings.AVATAR_MAX_BYTES + 1), "too_large"),
        ):
            with self.subTest(content[:20]):
                answer = self.put(content)
                self.assertEqual(answer.status_code, 400, answer.content)
                errors = [(e["field"], e["code"]) for e in answer.json()["errors"]]
                self.assertEqual(errors, [("file", code)])
        for body in ({}, {"file": "text"}, {"surprise": "x"}):
            answer = self.alice.put(AVATAR, body, format="multipart")
            self.assertEqual(answer.status_code, 400)
        self.assertEqual(self.alice.put(AVATAR, {}).status_code, 415)
        self.assertEqual((self.stored().version, self.files()), (1, []))

    def test_what_unpacks_to_too_much_is_refused_before_it_does(self):
        for content in (bomb(), bomb(9000, 9000)):
            with mock.patch("PIL.ImageFile.ImageFile.load") as unpacked:
                answer = self.put(content)
            self.assertEqual(answer.json()["errors"][0]["code"], "invalid_image")
            self.assertEqual(unpacked.call_count, 0)

    def test_an_old_picture_goes_after_the_commit(self):
        def answer(client_call):
            with self.captureOnCommitCallbacks(execute=True):
                return client_call().json()["avatar"]

        first = answer(self.put)
        self.assertEqual(answer(self.put), first)
        self.assertEqual(self.files(), [f"{first}.webp"])
        second = answer(lambda: self.put(picture((200, 300), "JPEG", "L")))
        self.assertNotEqual(first, second)
        self.assertEqual(self.files(), [f"{second}.webp"])
        self.assertEqual(answer(lambda: self.alice.delete(AVATAR)), "")
        self.assertEqual(self.files(), [])
        self.assertEqual(self.alice.get(self.address()).status_code, 404)

    def test_a_full_disk_leaves_no_row_without_its_file(self):
        full = OSError(28, "No space left on device")
        with mock.patch("os.fsync", side_effect=full):
            answer = self.put()
        self.assertEqual(answer.status_code, 503, answer.content)
        self.assertEqual((self.stored().avatar, self.files()), ("", []))

    def test_a_stale_picture_is_refused(self):
        etag = self.alice.get(ME)["ETag"]
        self.alice.patch(ME, {"bio": "x"})
        file = SimpleUploadedFile("me.png", picture())
        answer = self.alice.put(
            AVATAR, {"file": file}, format="multipart", headers={"If-Match": etag}
        )
        self.assertEqual(answer.status_code, 412)
        self.assertEqual((self.stored().avatar, self.files()), ("", []))

    def test_the_square_is_the_middle(self):
        wide = Image.new("RGB", (300, 100), "red")
        wide.paste("blue", (100, 0, 200, 100))
        out = BytesIO()
        wide.save(out, "PNG")
        square = Image.open(BytesIO(avatars.squared(BytesIO(out.getvalue()))))
        for corner in ((2, 2), (253, 253)):
            red, _, blue = square.convert("RGB").getpixel(corner)
            self.assertGreater(blue, 200)
            self.assertLess(red, 50)
