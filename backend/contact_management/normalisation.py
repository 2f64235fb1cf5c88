"""One spelling for values that people write in many ways."""

import gettext
from functools import lru_cache
from pathlib import Path

import django_countries
from django_countries import countries

from core.phones import e164

# What people and other programs write, beyond the names and codes of ISO 3166.
COMMON_NAMES = {
    "england": "GB",
    "estados unidos": "US",
    "états-unis": "US",
    "grossbritannien": "GB",
    "great britain": "GB",
    "holland": "NL",
    "northern ireland": "GB",
    "russia": "RU",
    "russland": "RU",
    "scotland": "GB",
    "south korea": "KR",
    "stany zjednoczone": "US",
    "stati uniti": "US",
    "u.k.": "GB",
    "u.s.": "US",
    "u.s.a.": "US",
    "uk": "GB",
    "united states": "US",
    "usa": "US",
    "vereinigte staaten": "US",
    "verenigde staten": "US",
    "wales": "GB",
}


# Of countries' names; where one means two countries, the later language counts.
COUNTRY_LANGUAGES = ("ja", "ru", "pl", "pt", "nl", "it", "es", "fr", "de", "en")


@lru_cache(maxsize=4096)
def country_code(text: str) -> str:
    """The ISO 3166-1 alpha-2 code of a country's code, or its name in our languages.

    What is not known comes back as it is: nothing that somebody entered is lost.
    """
    name = text.strip().casefold()
    return COMMON_NAMES.get(name) or _iso_codes().get(name) or text.strip()


@lru_cache(maxsize=1)
def _iso_codes() -> dict[str, str]:
    codes = {}
    folder = Path(django_countries.__file__).parent / "locale"
    for language in COUNTRY_LANGUAGES:
        # Not Django's own translation: the program itself speaks one language.
        words = gettext.translation("django", folder, [language], fallback=True)
        for code, name in countries:
            codes[words.gettext(name).casefold()] = code
    for code, _ in countries:
        codes[code.casefold()] = code
        codes[countries.alpha3(code).casefold()] = code
    return codes


# What a column's name says of the values in it.
LABELS = {
    **{"home": "home", "personal": "home", "private": "home"},
    **{"work": "work", "business": "work", "office": "work"},
    **{"mobile": "mobile", "cell": "mobile", "other": "other"},
}


def label_of(column: str) -> str:
    """The label of a value by the name of its column; blank where that says nothing."""
    words = column.casefold().split()
    return next((LABELS[word] for word in words if word in LABELS), "")


def numbered(phones: list[dict], region: str, taken: set[str]) -> list[dict]:
    """Labelled phones with their E.164, without those that are taken or come twice.

    Args:
        taken: numbers, in E.164 or as they were given, that the record has already.
    """
    numbers = {*taken} - {""}
    kept = []
    for phone in phones:
        number = e164(phone["value"], region)
        if numbers.isdisjoint({phone["value"], number} - {""}):
            numbers |= {phone["value"], number} - {""}
            kept.append({**phone, "e164": number})
    return kept
