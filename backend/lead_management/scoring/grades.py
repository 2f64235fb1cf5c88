"""Grades: letters that stand for ranges of scores."""

from django.core.exceptions import ValidationError

MAX_GRADES = 10
MAX_LENGTH = 20


def default_grades() -> dict[str, int]:
    return {"A": 75, "B": 50, "C": 25, "D": 0}


def grade_of(grades: dict[str, int], total: int) -> str:
    """The best grade whose least score this reaches."""
    reached = [grade for grade, least in grades.items() if total >= least]
    return max(reached, key=grades.get)


def checked_grades(grades) -> dict[str, int]:
    """The grades, the best one first.

    Raises:
        ValidationError: of `grades`.
    """

    def refuse(detail):
        raise ValidationError({"grades": ValidationError(detail, code="invalid")})

    if not isinstance(grades, dict) or not 0 < len(grades) <= MAX_GRADES:
        refuse(f"Give an object of 1 to {MAX_GRADES} grades.")
    for grade, least in grades.items():
        if not 0 < len(grade) <= MAX_LENGTH or grade != grade.strip():
            refuse(f"A grade has 1 to {MAX_LENGTH} characters.")
        if type(least) is not int or not 0 <= least <= 100:
            refuse(f"'{grade}': give the least score, from 0 to 100.")
    if len(set(grades.values())) < len(grades):
        refuse("Two grades begin at the same score.")
    if 0 not in grades.values():
        refuse("The last grade begins at 0.")
    return dict(sorted(grades.items(), key=lambda pair: -pair[1]))
