"""Made-up people and places: written by faker once, then combined at random.

Faker takes a millisecond for one person, and a million of them a quarter of an hour.
"""

import random
from dataclasses import dataclass
from functools import lru_cache

from django.utils.text import slugify
from faker import Faker

from core.zipf import Weighted, Zipf

FIRST_NAMES, LAST_NAMES, CITIES, STREETS, JOBS, SENTENCES = 300, 800, 200, 300, 150, 200
# By country: its language, how many of 100 people live there, and its telephone
# numbers, where # is any digit.
COUNTRIES = {
    "US": ("en_US", 45, "+1 (2##) 555-####"),
    "GB": ("en_GB", 15, "+44 1632 9#####"),
    "DE": ("de_DE", 15, "+49 30 #######"),
    "FR": ("fr_FR", 10, "+33 1 99 00 ## ##"),
    "ES": ("es_ES", 8, "+34 91# ### ###"),
    "PL": ("pl_PL", 7, "+48 22 ### ## ##"),
}


@dataclass(frozen=True)
class Country:
    code: str
    first_names: Zipf[str]
    last_names: Zipf[str]
    # Name, state and postal code.
    cities: Zipf[tuple[str, str, str]]
    streets: list[str]
    company_names: list[str]
    phones: str

    def phone(self, chance: random.Random) -> str:
        count = self.phones.count("#")
        digits = f"{chance.randrange(10**count):0{count}}"
        return self.phones.replace("#", "%s") % tuple(digits)

    def company(self, chance: random.Random) -> str:
        """Two names that companies have: as many as nobody thought of."""
        first, second = chance.choice(self.company_names), self.last_names.pick(chance)
        return f"{second} {first}" if chance.random() < 0.5 else first


class Pools:
    """What people and companies are made of.

    Args:
        seed: the same one gives the same pools.
    """

    def __init__(self, seed: int):
        self.countries = Weighted(
            [self._country(seed, code, *c[::2]) for code, c in COUNTRIES.items()],
            [share for _, share, _ in COUNTRIES.values()],
        )
        fake = seeded(seed, "en_US")
        self.jobs = Zipf(distinct(fake.job, JOBS), 0.7)
        self.sentences = distinct(lambda: fake.sentence(nb_words=9), SENTENCES)

    @staticmethod
    def _country(seed, code, language, phones) -> Country:
        fake = seeded(seed, language)
        state = fake.state_abbr if code == "US" else str
        cities = distinct(fake.city, CITIES)
        return Country(
            code,
            Zipf(distinct(fake.first_name, FIRST_NAMES), 0.6),
            Zipf(distinct(fake.last_name, LAST_NAMES), 0.6),
            Zipf([(city, state(), fake.postcode()) for city in cities]),
            # Some end with a space, which nobody could save.
            distinct(lambda: fake.street_address().strip(), STREETS),
            distinct(fake.company, LAST_NAMES),
            phones,
        )


@lru_cache(maxsize=1)
def pools_of(seed: int) -> Pools:
    return Pools(seed)


def e164_of(phone: str) -> str:
    """What `core.phones.e164` makes of a phone of these pools, without looking."""
    return f"+{''.join(filter(str.isdigit, phone))}" if phone else ""


@lru_cache(maxsize=8192)
def ascii_of(name: str) -> str:
    """A name as it stands in an address."""
    return slugify(name.replace("ł", "l").replace("ß", "ss")) or "x"


def seeded(seed: int, language: str) -> Faker:
    fake = Faker(language)
    fake.seed_instance(seed)
    return fake


def distinct(make, count: int) -> list[str]:
    """About so many different texts, in the order that they came."""
    return list(dict.fromkeys(make() for _ in range(count)))
