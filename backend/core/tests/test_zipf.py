import random
from collections import Counter

from django.test import SimpleTestCase

from core.zipf import Weighted, Zipf


def counted(choice, count: int = 20_000) -> Counter:
    chance = random.Random(2026)  # noqa: S311
    return Counter(choice.pick(chance) for _ in range(count))


class ZipfTests(SimpleTestCase):
    def test_the_second_is_chosen_half_as_often_as_the_first(self):
        found = counted(Zipf("abcd"))
        for place, item in enumerate("abcd", 1):
            self.assertAlmostEqual(found[item] / found["a"], 1 / place, delta=0.05)

    def test_without_an_exponent_all_are_alike(self):
        for count in counted(Zipf("abcd", 0)).values():
            self.assertAlmostEqual(count / 20_000, 0.25, delta=0.02)

    def test_weights_say_how_often(self):
        found = counted(Weighted("ab", (3, 1)))
        self.assertAlmostEqual(found["a"] / 20_000, 0.75, delta=0.02)

    def test_the_only_one_is_chosen(self):
        self.assertEqual(counted(Zipf("a"), 10), {"a": 10})

    def test_nothing_can_be_chosen_of_nothing(self):
        with self.assertRaises(ValueError):
            Zipf([])
