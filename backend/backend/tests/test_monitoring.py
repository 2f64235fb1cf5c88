"""What stands in monitoring/ fits what MyCRM tells and what its guide explains."""

import json
import re
from pathlib import Path

import yaml
from django.conf import settings
from django.test import TestCase

from core.metrics.middleware import exposition
from core.tasks import count_figures

FOLDER = Path(settings.PROJECT_DIR) / "monitoring"
GUIDE = "docs/OPERATIONS.md"


def alerts() -> list[dict]:
    groups = yaml.safe_load((FOLDER / "rules" / "mycrm.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboards() -> dict[str, dict]:
    paths = (FOLDER / "grafana" / "dashboards").glob("*.json")
    return {path.stem: json.loads(path.read_text()) for path in paths}


def queries() -> list[str]:
    panels = [panel for d in dashboards().values() for panel in d["panels"]]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    return shown + [alert["expr"] for alert in alerts()]


class MonitoringTests(TestCase):
    def test_queries_ask_only_for_what_there_is(self):
        count_figures()
        families = set(re.findall(r"^# TYPE (\w+)", exposition().decode(), re.M))
        # Of a server that this test may not have.
        families |= {"mycrm_database_connections", "mycrm_database_connections_allowed"}
        for query in queries():
            for name in re.findall(r"\bmycrm_\w+", query):
                with self.subTest(name):
                    family = re.sub(r"_(bucket|count|sum)$", "", name)
                    self.assertTrue({name, family} & families)

    def test_what_is_told_of_ours_is_looked_at_somewhere(self):
        text = exposition().decode()
        asked = " ".join(queries())
        for name in re.findall(r"^# TYPE (mycrm_\w+)", text, re.M):
            with self.subTest(name):
                self.assertIn(name, asked)

    def test_every_alert_says_whom_it_wakes_and_where_help_is(self):
        guide = (Path(settings.PROJECT_DIR) / GUIDE).read_text()
        headings = re.findall(r"^#+ (\w+)$", guide, re.M)
        for alert in alerts():
            with self.subTest(alert["alert"]):
                self.assertIn(alert["labels"]["severity"], ("page", "ticket"))
                notes = alert["annotations"]
                self.assertTrue(notes["summary"] and notes["description"])
                anchor = f"{GUIDE}#{alert['alert'].lower()}"
                self.assertEqual(notes["runbook_url"], anchor)
                self.assertIn(alert["alert"], headings)

    def test_every_alert_is_tested(self):
        tested = (FOLDER / "tests.yml").read_text()
        for alert in alerts():
            self.assertIn(f'alertname="{alert["alert"]}"', tested)

    def test_dashboards_are_told_apart(self):
        self.assertEqual(
            {name: d["uid"] for name, d in dashboards().items()},
            {
                name: f"mycrm-{name}"
                for name in ("business", "cache", "database", "queues", "traffic")
            },
        )
