"""People at work with MyCRM, for Locust: a page to watch, or a report.

    LOAD_EMAIL=admin@example.com LOAD_PASSWORD=... ../.venv/bin/locust
    ... ../.venv/bin/locust --headless --html report.html

LOAD is light, medium or heavy; with THINK=0 people send one request after the other.
They are those of `manage.py seed --users 50`: measuring.people says what they do.
"""

import os
import time

import gevent
from gevent.lock import BoundedSemaphore
from locust import FastHttpUser, LoadTestShape, events, task

from measuring.people import (
    Answer,
    Manager,
    Marketer,
    Refused,
    Request,
    Seller,
    Staff,
)

# People, how many come in a second, and seconds.
SHAPES = {"light": (50, 10, 60), "medium": (250, 10, 180), "heavy": (1000, 15, 300)}
THINKS = os.environ.get("THINK", "1") != "0"
HIRING = BoundedSemaphore()


@events.init_command_line_parser.add_listener
def add_defaults(parser):
    parser.set_defaults(host="http://127.0.0.1:8000", web_host="127.0.0.1")


class Shape(LoadTestShape):
    """So many people come, and stay until the time is over."""

    people, spawn_rate, seconds = SHAPES[os.environ.get("LOAD", "light")]

    def tick(self):
        coming = self.people / self.spawn_rate
        if self.get_run_time() > coming + self.seconds:
            return None
        return self.people, self.spawn_rate


class Browser(FastHttpUser):
    abstract = True
    kind = None
    staff = None
    network_timeout = 60.0

    def on_start(self):
        with HIRING:
            if Browser.staff is None:
                email, password = os.environ["LOAD_EMAIL"], os.environ["LOAD_PASSWORD"]
                Browser.staff = Staff(self.send, gevent.sleep, email, password)
        self.person = Browser.staff.hire(self.send, gevent.sleep, THINKS, self.kind)
        # Not all at once, as nobody is.
        self.person.think()

    def send(self, request: Request) -> Answer:
        with self.client.request(
            request.method,
            request.path,
            name=request.name,
            headers=request.headers,
            data=request.body,
            catch_response=True,
        ) as response:
            if response.status_code in request.expected:
                response.success()
            elif not response.status_code:
                response.failure(str(response.error))
                time.sleep(1)
                raise Refused(str(response.error))
            else:
                response.failure(f"{response.status_code} {response.text[:120]}")
            etag = response.headers.get("etag", "") if response.headers else ""
            return Answer(response.status_code, etag, response.content or b"")

    @task
    def work(self):
        self.person.work()


class SalesPerson(Browser):
    kind = Seller
    weight = kind.share


class MarketingPerson(Browser):
    kind = Marketer
    weight = kind.share


class SalesManager(Browser):
    kind = Manager
    weight = kind.share
