"""Which app may import which; the map of the README lives by it."""

import ast
from pathlib import Path

from django.conf import settings
from django.test import SimpleTestCase

ALLOWED = {
    "core": set(),
    "user_management": {"core"},
    "contact_management": {"core"},
    "lead_management": {"core", "contact_management"},
    "backend": {"core", "user_management", "contact_management", "lead_management"},
}
# They measure the others, and none of these needs them.
TOOLS = {"measuring", "benchmark", "faults"}
FOR_TESTS = ("core/testing/", "core/performance_tests.py", "backend/settings_test.py")


def modules(app: str) -> list[Path]:
    """The modules of an app, but for its tests and what is for tests alone."""
    backend = Path(settings.BACKEND_DIR)
    folder = backend / app
    return [
        path
        for path in sorted(folder.rglob("*.py"))
        if "tests" not in path.relative_to(folder).parts
        and not str(path.relative_to(backend)).startswith(FOR_TESTS)
    ]


def imported(path: Path) -> set[str]:
    """The first words of all that a module imports, at any depth."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute | ast.Name)
            and "import_module" in ast.unparse(node.func)
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            names.add(str(node.args[0].value).partition(".")[0])
    return names


class ImportDirectionTests(SimpleTestCase):
    def test_every_app_of_ours_has_a_place_in_the_order(self):
        folder = Path(settings.BACKEND_DIR)
        ours = {
            path.parent.name
            for path in folder.glob("*/__init__.py")
            if path.parent.parent == folder
        }
        self.assertLessEqual(ours, ALLOWED.keys() | TOOLS)
        self.assertLessEqual({"backend", "core"}, ours)

    def test_apps_import_only_what_is_below_them(self):
        for app, allowed in ALLOWED.items():
            for path in modules(app):
                with self.subTest(path.relative_to(settings.BACKEND_DIR)):
                    others = imported(path) & (ALLOWED.keys() | TOOLS) - {app}
                    self.assertLessEqual(others, allowed)

    def test_nothing_but_tests_imports_what_is_for_tests(self):
        for app in ALLOWED:
            for path in modules(app):
                with self.subTest(path.relative_to(settings.BACKEND_DIR)):
                    self.assertNotIn("core.testing", path.read_text())
