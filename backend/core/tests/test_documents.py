import re
from pathlib import Path

from django.conf import settings
from django.test import SimpleTestCase

PROJECT = Path(settings.PROJECT_DIR)


class DocumentTests(SimpleTestCase):
    """What the documents say is there, is there."""

    def test_every_path_in_the_map_of_the_readme_exists(self):
        readme = (PROJECT / "README.md").read_text()
        tree = readme.partition("## The tree")[2].partition("\n## ")[0]
        paths = re.findall(r"^\| `([^`]+)` \|", tree, re.MULTILINE)
        self.assertGreater(len(paths), 10)
        missing = [path for path in paths if not (PROJECT / path).exists()]
        self.assertEqual(missing, [])

    def test_every_setting_that_is_read_stands_in_the_example(self):
        sources = [
            *("backend/backend/settings.py", "backend/backend/settings_production.py"),
            *("backend/gunicorn.conf.py", "run.sh", "run_production.sh"),
        ]
        pattern = r'(?:env(?:\.\w+)?\(\s*"|\(setting )([A-Z_]+)'
        read = set()
        for source in sources:
            read |= set(re.findall(pattern, (PROJECT / source).read_text()))
        # Django's own, which the processes of a stack are given.
        read -= {"DJANGO_SETTINGS_MODULE"}
        example = (PROJECT / ".env.example").read_text()
        told = set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE))
        self.assertEqual(read - told, set())

    def test_the_guide_declares_the_tag_as_it_is(self):
        guide = (PROJECT / "TESTING_GUIDE.md").read_text()
        apps = PROJECT / "backend/contact_management"
        for source, start in (
            ("models.py", "class Tag("),
            ("views.py", "class TagViewSet("),
            ("tests/test_tags.py", "class TagContract("),
        ):
            with self.subTest(source):
                code = (apps / source).read_text()
                whole = code[code.index(start) :].split("\n\n\n")[0]
                # What the tag does besides is not shown.
                declaration = re.split(r"\n\n    (?:def |@)", whole)[0].strip()
                self.assertIn(declaration, guide)
