"""One spelling for phone numbers, which people write in many ways."""

from functools import lru_cache

import phonenumbers


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
