"""One spelling for values that people write in many ways."""

from functools import lru_cache

import phonenumbers
from django_countries import countries

# What people and other programs write, beyond the names and codes of ISO 3166.
COMMON_NAMES = {
    "england": "GB",
    "great britain": "GB",
    "holland": "NL",
    "northern ireland": "GB",
    "russia": "RU",
    "scotland": "GB",
    "south korea": "KR",
    "u.k.": "GB",
    "u.s.": "US",
    "u.s.a.": "US",
    "uk": "GB",
    "united states": "US",
    "usa": "US",
    "wales": "GB",
}


@lru_cache(maxsize=4096)
def country_code(text: str) -> str:
    """The ISO 3166-1 alpha-2 code of a country's code or English name.

    What is not known comes back as it is: nothing that somebody entered is lost.
    """
    name = text.strip().casefold()
    return COMMON_NAMES.get(name) or _iso_codes().get(name) or text.strip()


@lru_cache(maxsize=1)
def _iso_codes() -> dict[str, str]:
    codes = {}
    for code, name in countries:
        codes[name.casefold()] = code
        codes[code.casefold()] = code
        codes[countries.alpha3(code).casefold()] = code
    return codes


@lru_cache(maxsize=4096)
def e164(text: str, region: str) -> str:
    """A phone number in E.164, such as +14155552671; empty where it is not one.

    Args:
        region: ISO 3166-1 code of the country that a number without one is of.
    """
    if not text:
        return ""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_possible_number(number):
        return ""
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


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
