"""What each kind of custom field takes, as JSON, from a cell of a file, and as a cell.

A kind reads two forms. `checked` takes what a client sent and gives what is stored;
`read` takes the text of a cell. Both raise a ValidationError with a stable code.
"""

import datetime
import re
from decimal import Decimal
from functools import cached_property
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator

from core.currencies import CURRENCIES
from core.fields import LinkField
from core.jsonvalues import MAX_NUMBER

MAX_TEXT = 5_000
MAX_LINK = 500
# As `read` takes it apart, and as `checked` wants it.
AMOUNT = re.compile(r"-?\d{1,15}(\.\d{1,4})?")
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
PARTED_DATE = re.compile(r"(\d{1,4})[./-](\d{1,2})[./-](\d{1,4})")
# As programs write what is very large or small.
SCIENTIFIC = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?[eE][+-]?[0-9]{1,3}")
DIGITS = re.compile(r"\d{0,30}")
SEPARATORS = re.compile(r"[;,]")
YES = frozenset(("yes", "true", "1", "y", "x", "on"))
NO = frozenset(("no", "false", "0", "n", "off"))


class People(dict[str, str]):
    """The ids of users by their e-mail."""

    @cached_property
    def emails(self) -> dict[str, str]:
        return {user: email for email, user in self.items()}


def wrong(detail: str, code: str) -> ValidationError:
    return ValidationError(detail, code=code)


class Kind:
    """One kind of value.

    Attributes:
        is_sortable: whether a list can be in its order.
        has_choices: whether its definition lists what it may be.
    """

    is_sortable = True
    has_choices = False

    def checked(self, value, field, people, before=None):
        """The value as it is stored.

        Args:
            field: the CustomField.
            people: the ids of the users of the organization, by e-mail.
            before: the value that stands there now.
        """
        raise NotImplementedError

    def read(self, text: str, field, people: People):
        """What the text of a cell means, for `checked` to look at."""
        return text

    def shown(self, value, field, people: People) -> str:
        """The value as the text of a cell, which `read` understands."""
        return str(value)


class Text(Kind):
    def checked(self, value, field, people, before=None):
        if not isinstance(value, str):
            raise wrong("Give a text.", "not_a_text")
        if len(value) > MAX_TEXT:
            raise wrong(f"At most {MAX_TEXT} characters.", "max_length")
        return value


class Number(Kind):
    def checked(self, value, field, people, before=None):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong("Give a number.", "not_a_number")
        if not abs(value) <= MAX_NUMBER:
            raise wrong("A number is too large.", "max_value")
        return value

    def read(self, text, field, people):
        """Of a percentage the figure before the sign."""
        text = text.removesuffix("%").rstrip()
        is_scientific = SCIENTIFIC.fullmatch(text)
        number = Decimal(text) if is_scientific else decimal_of(text)
        if number is None:
            raise wrong("This is no number.", "not_a_number")
        return number_of(number)


class Money(Kind):
    def checked(self, value, field, people, before=None):
        if not isinstance(value, dict) or value.keys() != {"amount", "currency"}:
            raise wrong("Give an amount and a currency.", "not_money")
        amount, currency = value["amount"], value["currency"]
        if not (isinstance(amount, str) and AMOUNT.fullmatch(amount)):
            detail = 'Give the amount as a text like "12.50".'
            raise wrong(detail, "not_an_amount")
        if not (isinstance(currency, str) and currency in CURRENCIES):
            raise wrong("Give an ISO 4217 code, such as USD.", "unknown_currency")
        return value

    def read(self, text, field, people):
        """`12.50 EUR` or `EUR 12.50`; without a currency the organization's."""
        codes = [word for word in re.split(r"[\s\d.,'-]+", text) if word]
        currency = codes[0].upper() if codes else field.organization.currency
        amount = decimal_of(re.sub(r"[^\d.,'-]", "", text))
        if amount is None or len(codes) > 1:
            raise wrong("This is no amount with a currency.", "not_money")
        return {"amount": f"{amount:f}", "currency": currency}

    def shown(self, value, field, people):
        if isinstance(value, dict):
            return f"{value.get('amount')} {value.get('currency')}"
        return str(value)


class Date(Kind):
    def checked(self, value, field, people, before=None):
        if not (isinstance(value, str) and ISO_DATE.fullmatch(value)):
            raise wrong("Give a date like 2026-12-31.", "not_a_date")
        try:
            datetime.date.fromisoformat(value)
        except ValueError:
            raise wrong("There is no such date.", "not_a_date") from None
        return value

    def read(self, text, field, people):
        """ISO, or a day, month and year of which only one order makes a date."""
        day = text.partition("T")[0].partition(" ")[0].removesuffix(",")
        parts = PARTED_DATE.fullmatch(day)
        if not parts:
            raise wrong("This is no date; write 2026-12-31.", "not_a_date")
        first, second, third = (int(part) for part in parts.groups())
        if len(parts[1]) == 4:
            orders = {(first, second, third)}
        elif len(parts[3]) == 4 and "." in text:
            orders = {(third, second, first)}
        elif len(parts[3]) == 4:
            orders = {(third, second, first), (third, first, second)}
        else:
            orders = set()
        dates = [f"{y:04}-{m:02}-{d:02}" for y, m, d in orders if 0 < m < 13]
        if len(dates) != 1:
            raise wrong("This can be two dates; write 2026-12-31.", "ambiguous_date")
        return dates[0]


class Boolean(Kind):
    def checked(self, value, field, people, before=None):
        if not isinstance(value, bool):
            raise wrong("Give true or false.", "not_a_boolean")
        return value

    def read(self, text, field, people):
        if text.casefold() in YES | NO:
            return text.casefold() in YES
        raise wrong("This is neither yes nor no.", "not_a_boolean")

    def shown(self, value, field, people):
        return {True: "true", False: "false"}.get(value, str(value))


class Link(Kind):
    def checked(self, value, field, people, before=None):
        if not isinstance(value, str) or len(value) > MAX_LINK:
            raise wrong("Give a web address.", "not_a_link")
        link = LinkField().to_python(value)
        try:
            URLValidator(schemes=("http", "https"))(link)
        except ValidationError:
            raise wrong("Give a web address.", "not_a_link") from None
        return link


class User(Kind):
    is_sortable = False

    def checked(self, value, field, people, before=None):
        try:
            user = str(UUID(value)) if isinstance(value, str) else ""
        except ValueError:
            user = ""
        if user not in people.emails:
            raise wrong("There is no such user.", "does_not_exist")
        return user

    def read(self, text, field, people):
        return people.get(text.lower(), text)

    def shown(self, value, field, people):
        return people.emails.get(value, str(value))


class Choice(Kind):
    has_choices = True

    def checked(self, value, field, people, before=None):
        if not isinstance(value, str) or value not in field.labels():
            raise wrong("This is not among the choices.", "invalid_choice")
        return value

    def read(self, text, field, people):
        """By value or by label, whatever their case."""
        means = {label.casefold(): value for value, label in field.labels().items()}
        means |= {value.casefold(): value for value in field.labels()}
        return means.get(text.casefold(), text)

    def shown(self, value, field, people):
        return self.word(value, field, people)

    def word(self, value, field, people) -> str:
        """Its label where `read` takes that for the value; else the value itself."""
        label = field.labels().get(value, "")
        means = self.read(label, field, people) if label else None
        return label if means in (value, [value]) else str(value)


class MultiChoice(Choice):
    is_sortable = False

    def checked(self, value, field, people, before=None):
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise wrong("Give a list of choices.", "not_a_list")
        if len(set(value)) < len(value):
            raise wrong("A choice stands twice.", "repeated")
        kept = before if isinstance(before, list) else []
        if any(one not in field.labels() and one not in kept for one in value):
            raise wrong("This is not among the choices.", "invalid_choice")
        return value

    def read(self, text, field, people):
        parts = [part.strip() for part in SEPARATORS.split(text)]
        chosen = [super(MultiChoice, self).read(p, field, people) for p in parts if p]
        return list(dict.fromkeys(chosen))

    def shown(self, value, field, people):
        if not isinstance(value, list):
            return str(value)
        return "; ".join(self.word(one, field, people) for one in value)


KINDS: dict[str, Kind] = {
    "text": Text(),
    "number": Number(),
    "money": Money(),
    "date": Date(),
    "choice": Choice(),
    "multi_choice": MultiChoice(),
    "boolean": Boolean(),
    "link": Link(),
    "user": User(),
}


def number_of(number: Decimal) -> int | float:
    """The JSON number that a decimal is."""
    is_storable = number.is_finite() and abs(number) <= MAX_NUMBER
    is_whole = is_storable and number == number.to_integral_value()
    return int(number) if is_whole else float(number)


def decimal_of(text: str) -> Decimal | None:
    """A number with either decimal separator; None where it is none, or unclear.

    The last separator is the decimal one, unless it stands several times, or alone
    before three digits after a comma: "1,234" is a thousand, "1,5" one and a half.
    """
    text = re.sub(r"[\s'\u2019]", "", text)
    separator = "," if text.rfind(",") > text.rfind(".") else "."
    other = "." if separator == "," else ","
    is_grouped = text.count(separator) > 1 or (
        separator == "," and other not in text and re.search(r"\d,\d{3}$", text)
    )
    if is_grouped and other not in text:
        whole, grouping, fraction = text, separator, ""
    else:
        whole, _, fraction = text.partition(separator)
        grouping = other
    sign = "-" if whole.startswith("-") else ""
    whole = whole.removeprefix("-" if sign else "+") or "0"
    groups = rf"\d{{1,3}}([{grouping}]\d{{3}})+"
    if not (
        re.fullmatch(rf"\d{{1,30}}|{groups}", whole) and DIGITS.fullmatch(fraction)
    ):
        return None
    fraction = f".{fraction}" if fraction else ""
    return Decimal(f"{sign}{whole.replace(grouping, '')}{fraction}")
