"""One spelling for values that people write in many ways."""

from functools import lru_cache

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
