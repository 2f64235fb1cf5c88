import json
import unittest
from dataclasses import asdict

from django.test import TestCase

from core.importing.drafts import allowed_targets
from core.importing.mapping import (
    BadMapping,
    ColumnMap,
    normalise,
    split_emails,
    split_full_name,
    split_tags,
)
from core.models import Organization
from core.registry import importable_types

HEADERS = {
    "salutation": "salutation",
    "first name": "first_name",
    "last name": "last_name",
    "e mail": "email",
    "e mail address": "email",
    "phone": "phone",
    "business phone": "phone",
    "home phone": "phone",
    "mobile": "mobile",
    "job title": "job_title",
    "title": "job_title",
    "business street": "address_line_1",
    "address street": "address_line_1",
    "home street": "address_line_1",
    "business city": "city",
    "address city": "city",
    "home city": "city",
}
FIELDS = frozenset(HEADERS.values())


def suggested(*columns: str) -> dict[str, str | None]:
    return ColumnMap.suggest(columns, HEADERS).as_dict()


def values(row: dict[str, str]) -> dict[str, str]:
    """The values of a row given as column name to cell, without their columns."""
    found = ColumnMap.suggest(list(row), HEADERS).values(list(row.values()))
    return {target: value for target, (value, _) in found.items()}


class NormaliseTests(unittest.TestCase):
    def test_case_spacing_and_punctuation_do_not_matter(self) -> None:
        for header in ("E-mail 1 - Value", " e_mail (1)  VALUE", "E.Mail/1:value*"):
            self.assertEqual(normalise(header), "e mail 1 value")

    def test_accents_are_kept_however_they_are_written(self) -> None:
        self.assertEqual(normalise("Prénom"), "prénom")
        self.assertEqual(normalise("Pre\u0301nom"), "prénom")

    def test_letters_with_two_capital_forms_are_one(self) -> None:
        self.assertEqual(normalise("STRASSE"), normalise("Straße"))

    def test_a_header_of_punctuation_becomes_nothing(self) -> None:
        self.assertEqual(normalise(" -_- "), "")


class SuggestTests(unittest.TestCase):
    def test_known_headers_are_mapped_and_others_ignored(self) -> None:
        self.assertEqual(
            suggested("FIRST_NAME", "Shoe size", "E-Mail"),
            {"FIRST_NAME": "first_name", "Shoe size": None, "E-Mail": "email"},
        )

    def test_nothing_known_maps_nothing(self) -> None:
        self.assertEqual(suggested("foo", "bar"), {"foo": None, "bar": None})

    def test_numbered_headers_are_mapped_like_the_plain_one(self) -> None:
        self.assertEqual(
            suggested(
                "E-mail 2 Address",
                "E-mail 2 Type",
                "E-mail 1 - Value",
                "E-mail 1 - Label",
                "Phone 3 - Value",
                "Phone 3 - Type",
                "Address 2 - Street",
                "Relation 1 - Value",
            ),
            {
                "E-mail 2 Address": "email",
                "E-mail 2 Type": None,
                "E-mail 1 - Value": "email",
                "E-mail 1 - Label": None,
                "Phone 3 - Value": "phone",
                "Phone 3 - Type": None,
                "Address 2 - Street": "address_line_1",
                "Relation 1 - Value": None,
            },
        )

    def test_the_labels_of_pairs_are_no_values(self) -> None:
        headers = {"email": "email", "email label": "email_label", "phone": "phone"}
        columns = ("Email 1 - Label", "Email 1 - Value", "Phone 1 - Type")
        suggested = ColumnMap.suggest(columns, headers)
        self.assertEqual(suggested.targets, (None, "email", None))

    def test_a_second_column_of_the_same_name_is_mapped_too(self) -> None:
        self.assertEqual(suggested("Phone (2)"), {"Phone (2)": "phone"})

    def test_title_is_the_job_if_no_other_column_is(self) -> None:
        self.assertEqual(suggested("Title"), {"Title": "job_title"})
        self.assertEqual(
            suggested("Salutation", "Title"),
            {"Salutation": "salutation", "Title": "job_title"},
        )

    def test_title_is_the_salutation_beside_a_job_title(self) -> None:
        self.assertEqual(
            suggested("Title", "Job Title"),
            {"Title": "salutation", "Job Title": "job_title"},
        )

    def test_title_stays_the_job_where_there_is_no_salutation(self) -> None:
        headers = {"job title": "job_title", "title": "job_title"}
        column_map = ColumnMap.suggest(["Title", "Job Title"], headers)
        self.assertEqual(column_map.targets, ("job_title", "job_title"))

    def test_a_whole_name_is_used_whatever_parts_of_it_have_columns(self) -> None:
        """Address books have rows that fill nothing else."""
        for header in ("Name", "Display Name", "Full name", "Person - Name"):
            with self.subTest(header):
                self.assertEqual(suggested(header), {header: "full_name"})
                parts = {"First name": "first_name", "Last name": "last_name"}
                self.assertEqual(
                    suggested(*parts, header), {**parts, header: "full_name"}
                )

    def test_a_whole_name_is_for_people_only(self) -> None:
        column_map = ColumnMap.suggest(["Name"], {"name": "name"})
        self.assertEqual(column_map.targets, ("name",))
        self.assertEqual(ColumnMap.suggest(["Name"], {"e": "email"}).targets, (None,))


class GivenTests(unittest.TestCase):
    def test_a_mapping_is_taken_as_it_is(self) -> None:
        column_map = ColumnMap.given(
            ["A", "B", "C", "D"], {"A": "email", "B": None, "C": ""}, FIELDS
        )
        self.assertEqual(
            column_map.as_dict(), {"A": "email", "B": None, "C": None, "D": None}
        )

    def test_a_suggestion_sent_back_means_the_same(self) -> None:
        columns = ["Home Phone", "Business Phone", "Phone 1 - Value", "Phone 1 - Type"]
        suggestion = ColumnMap.suggest(columns, HEADERS)
        self.assertEqual(
            ColumnMap.given(columns, suggestion.as_dict(), FIELDS, HEADERS), suggestion
        )

    def test_without_headers_the_first_column_is_preferred(self) -> None:
        columns = ["Home Phone", "Business Phone"]
        column_map = ColumnMap.given(columns, dict.fromkeys(columns, "phone"), FIELDS)
        self.assertEqual(column_map.values(["1", "2"]), {"phone": ("1", "Home Phone")})

    def test_an_unknown_column_is_named(self) -> None:
        with self.assertRaises(BadMapping) as caught:
            ColumnMap.given(["A"], {"Other": "email"}, FIELDS)
        self.assertEqual(caught.exception.code, "unknown_column")
        self.assertEqual(caught.exception.column, "Other")
        self.assertEqual(str(caught.exception), "The file has no column “Other”.")

    def test_an_unknown_target_is_named_with_its_column(self) -> None:
        for target in ("password", "external_ids", "Email", 7, ["email"]):
            with self.subTest(target), self.assertRaises(BadMapping) as caught:
                ColumnMap.given(["A"], {"A": target}, FIELDS)
            self.assertEqual(caught.exception.code, "unknown_target")
            self.assertEqual(caught.exception.column, "A")
            self.assertIn(f"“{target}”", caught.exception.detail)

    def test_an_external_id_names_its_source(self) -> None:
        for source in ("hubspot", "old_crm_2", "x" * 50):
            target = f"external_ids.{source}"
            column_map = ColumnMap.given(["Id"], {"Id": target}, FIELDS)
            self.assertEqual(column_map.values(["7"]), {target: ("7", "Id")})
        for source in ("", "Hub", "a-b", "a.b", "x" * 51, "a\n"):
            with self.subTest(source), self.assertRaises(BadMapping):
                ColumnMap.given(["Id"], {"Id": f"external_ids.{source}"}, FIELDS)

    def test_a_whole_name_needs_both_of_its_parts(self) -> None:
        column_map = ColumnMap.given(["Who"], {"Who": "full_name"}, FIELDS)
        self.assertEqual(
            column_map.values(["Ada Lovelace"]),
            {"first_name": ("Ada", "Who"), "last_name": ("Lovelace", "Who")},
        )
        with self.assertRaises(BadMapping):
            ColumnMap.given(["Who"], {"Who": "full_name"}, {"last_name", "email"})


class ValuesTests(unittest.TestCase):
    def test_values_are_stripped_and_name_their_column(self) -> None:
        column_map = ColumnMap(("A", "B", "C"), ("email", None, "notes"))
        self.assertEqual(
            column_map.values([" a@b.c ", "x", "\thi\n"]),
            {"email": ("a@b.c", "A"), "notes": ("hi", "C")},
        )

    def test_blank_and_missing_cells_are_left_out(self) -> None:
        column_map = ColumnMap(("A", "B", "C"), ("email", "notes", "city"))
        self.assertEqual(column_map.values(["  ", "x"]), {"notes": ("x", "B")})
        self.assertEqual(column_map.values([]), {})

    def test_cells_beyond_the_header_are_left_out(self) -> None:
        self.assertEqual(
            ColumnMap(("A",), ("email",)).values(["x", "y"])["email"][0], "x"
        )

    def test_the_first_filled_column_of_a_target_wins(self) -> None:
        column_map = ColumnMap(("A", "B", "C"), ("email", "email", "email"))
        self.assertEqual(column_map.values(["", "b", "c"]), {"email": ("b", "B")})

    def test_the_header_named_first_is_preferred_over_the_column_that_is(self) -> None:
        self.assertEqual(
            values({"Home Phone": "home", "Business Phone": "work"}), {"phone": "work"}
        )
        self.assertEqual(
            values({"Home Phone": "home", "Business Phone": ""}), {"phone": "home"}
        )

    def test_a_google_phone_goes_by_its_label(self) -> None:
        for label, target in (
            ("Mobile", "mobile"),
            ("* Mobile", "mobile"),
            ("Cellular", "mobile"),
            ("Work", "phone"),
            ("", "phone"),
            ("Home Fax", None),
            ("Pager", None),
        ):
            for kind in ("Label", "Type"):
                with self.subTest(label=label, kind=kind):
                    self.assertEqual(
                        values({f"Phone 1 - {kind}": label, "Phone 1 - Value": "12"}),
                        {target: "12"} if target else {},
                    )

    def test_a_google_phone_whose_label_cell_is_missing_is_a_phone(self) -> None:
        column_map = ColumnMap.suggest(["Phone 1 - Value", "Phone 1 - Type"], HEADERS)
        self.assertEqual(column_map.values(["1"]), {"phone": ("1", "Phone 1 - Value")})

    def test_the_first_google_phone_of_each_kind_is_taken(self) -> None:
        self.assertEqual(
            values(
                {
                    "Phone 1 - Type": "Home Fax",
                    "Phone 1 - Value": "1",
                    "Phone 2 - Type": "Work",
                    "Phone 2 - Value": "2",
                    "Phone 3 - Type": "Home",
                    "Phone 3 - Value": "3",
                    "Phone 4 - Type": "Mobile",
                    "Phone 4 - Value": "4",
                    "Phone 5 - Type": "Mobile",
                    "Phone 5 - Value": "5",
                }
            ),
            {"phone": "2", "mobile": "4"},
        )

    def test_a_google_phone_mapped_to_mobile_by_the_client_ignores_its_label(
        self,
    ) -> None:
        column_map = ColumnMap.given(
            ["Phone 1 - Type", "Phone 1 - Value"],
            {"Phone 1 - Value": "mobile"},
            FIELDS,
        )
        self.assertEqual(
            column_map.values(["Work", "1"]), {"mobile": ("1", "Phone 1 - Value")}
        )

    def test_without_a_mobile_field_mobile_phones_are_phones(self) -> None:
        columns = ["Phone 1 - Type", "Phone 1 - Value"]
        for column_map in (
            ColumnMap.suggest(columns, {"phone": "phone"}),
            ColumnMap.given(columns, {"Phone 1 - Value": "phone"}, {"phone"}),
        ):
            self.assertEqual(
                column_map.values(["Mobile", "1"]), {"phone": ("1", "Phone 1 - Value")}
            )

    def test_of_several_values_in_a_google_cell_the_first_is_taken(self) -> None:
        self.assertEqual(
            values({"E-mail 1 - Value": "a@b.c ::: d@e.f"}), {"email": "a@b.c"}
        )

    def test_parts_of_two_addresses_are_not_mixed(self) -> None:
        row = {
            "Home Street": "Elm 1",
            "Home City": "Bonn",
            "Business Street": "",
            "Business City": "Rome",
        }
        self.assertEqual(values(row), {"city": "Rome"})
        self.assertEqual(
            values(row | {"Business City": " "}),
            {"address_line_1": "Elm 1", "city": "Bonn"},
        )

    def test_the_first_filled_column_wins_within_an_address(self) -> None:
        column_map = ColumnMap(
            ("Home Street", "Home Address", "Work Address"), ("address_line_1",) * 3
        )
        self.assertEqual(
            column_map.values(["Elm 1", "Oak 2", "Main 3"]),
            {"address_line_1": ("Elm 1", "Home Street")},
        )

    def test_numbered_addresses_are_not_mixed_either(self) -> None:
        self.assertEqual(
            values(
                {
                    "Address 1 - Street": "Elm 1",
                    "Address 1 - City": "",
                    "Address 2 - Street": "Oak 2",
                    "Address 2 - City": "Rome",
                }
            ),
            {"address_line_1": "Elm 1"},
        )

    def test_an_address_spread_over_unlike_columns_is_put_together(self) -> None:
        column_map = ColumnMap(
            ("Business Street", "Town", "Address 2"),
            ("address_line_1", "city", "address_line_2"),
        )
        self.assertEqual(
            column_map.values(["Elm 1", "Rome", "Floor 3"]),
            {
                "address_line_1": ("Elm 1", "Business Street"),
                "address_line_2": ("Floor 3", "Address 2"),
                "city": ("Rome", "Town"),
            },
        )

    def test_parts_of_a_name_win_over_the_whole_name(self) -> None:
        column_map = ColumnMap(("Name", "First"), ("full_name", "first_name"))
        self.assertEqual(
            column_map.values(["Augusta Ada Lovelace", "Ada"]),
            {"first_name": ("Ada", "First"), "last_name": ("Lovelace", "Name")},
        )

    def test_a_whole_name_says_what_the_row_leaves_out(self) -> None:
        column_map = ColumnMap(
            ("Name", "First", "Last"), ("full_name", "first_name", "last_name")
        )
        for cells, first, last in (
            (["Ada King", "", ""], "Ada", "King"),
            (["Ada King", "Augusta", "Byron"], "Augusta", "Byron"),
            (["King, Ada", "Ada", ""], "Ada", "King"),
            (["Ada King", "", "King"], "Ada", "King"),
            # "Name" beside a first name is a last one, however many words it has.
            (["van der Berg", "Jan", ""], "Jan", "van der Berg"),
            (["Jan", "", "van der Berg"], "Jan", "van der Berg"),
            (["Jean Paul", "Jean Paul", ""], "Jean Paul", None),
            (["", "Ada", ""], "Ada", None),
        ):
            with self.subTest(cells):
                values = column_map.values(cells)
                found = [values.get(n, (None,))[0] for n in ("first_name", "last_name")]
                self.assertEqual(found, [first, last])


class EmailTests(unittest.TestCase):
    def test_addresses_are_told_from_what_stands_around_them(self) -> None:
        for text, emails in (
            ("ada@b.example", ["ada@b.example"]),
            ("Ada King <ada@b.example>", ["ada@b.example"]),
            ("King, Ada <ada@b.example>", ["ada@b.example"]),
            ("mailto:ada@b.example", ["ada@b.example"]),
            (
                "Ada K. <ada@b.example>; Bob <bob@b.example>, c@b.example",
                ["ada@b.example", "bob@b.example", "c@b.example"],
            ),
            ("\u202aada@b.example\u200b\u202c", ["ada@b.example"]),
            ("\ufeffada@b.example \u200b", ["ada@b.example"]),
            ("ada@b.example; king@b.example;", ["ada@b.example", "king@b.example"]),
            ("ada@b.example, king@b.example", ["ada@b.example", "king@b.example"]),
            ("ada@b.example ::: k@b.example", ["ada@b.example", "k@b.example"]),
            ("none; ada@b.example", ["none; ada@b.example"]),
            ("n/a", ["n/a"]),
        ):
            with self.subTest(text):
                self.assertEqual(split_emails(text), emails)

    def test_several_in_a_cell_are_one_and_further_ones(self) -> None:
        column_map = ColumnMap(("Email",), ("email",))
        cells = ["a@b.example; c@b.example"]
        self.assertEqual(column_map.values(cells), {"email": ("a@b.example", "Email")})
        self.assertEqual(column_map.further(cells), [("email", "c@b.example", "Email")])


class StorageTests(unittest.TestCase):
    def test_a_map_that_went_through_json_reads_rows_the_same(self) -> None:
        row = {"Home Phone": "1", "Business Phone": "2", "E-mail": "a@b.c"}
        column_map = ColumnMap.suggest(list(row), HEADERS)
        cells = list(row.values())
        before = column_map.values(cells)
        stored = json.dumps(asdict(column_map))
        self.assertEqual(ColumnMap(**json.loads(stored)).values(cells), before)


class SplitTests(unittest.TestCase):
    def test_whole_names(self) -> None:
        for name, first, last in (
            ("Ada Lovelace", "Ada", "Lovelace"),
            ("Augusta  Ada Lovelace", "Augusta Ada", "Lovelace"),
            ("Lovelace, Ada", "Ada", "Lovelace"),
            ("de la Cruz, Ana María", "Ana María", "de la Cruz"),
            ("Plato", None, "Plato"),
            ("Lovelace,", None, "Lovelace"),
            (", Ada", "Ada", None),
        ):
            expected = {"first_name": first, "last_name": last}
            with self.subTest(name):
                self.assertEqual(
                    split_full_name(name),
                    {field: part for field, part in expected.items() if part},
                )

    def test_tags_are_split_at_each_separator(self) -> None:
        self.assertEqual(split_tags("a ::: b c; d,e ,, ;"), ["a", "b c", "d", "e"])
        self.assertEqual(split_tags("  "), [])

    def test_labels_google_gives_itself_are_dropped(self) -> None:
        self.assertEqual(
            split_tags("* My Contacts ::: VIP ::: * myContacts ::: * starred"), ["VIP"]
        )

    def test_the_star_of_other_labels_is_dropped(self) -> None:
        self.assertEqual(split_tags("* Friends ::: *new"), ["Friends", "*new"])

    def test_tags_in_quotes_lose_them(self) -> None:
        self.assertEqual(split_tags('"a","b c"'), ["a", "b c"])
        self.assertEqual(split_tags('"VIP, gold"; "5;6"'), ["VIP, gold", "5;6"])
        self.assertEqual(split_tags('a, "b c"; 5" disk'), ["a", "b c", '5" disk'])

    def test_a_tag_is_kept_once_as_it_was_written_first(self) -> None:
        self.assertEqual(split_tags("VIP, vip; * Vip, other"), ["VIP", "other"])


class DeclaredHeaderTests(TestCase):
    def test_every_known_header_leads_to_where_a_column_can_go(self):
        nowhere = Organization()
        for name, model in importable_types().items():
            allowed = {*allowed_targets(model, nowhere), "full_name"}
            for header, target in model.import_headers.items():
                with self.subTest(f"{name}: {header}"):
                    beginning, dot, _ = target.partition(".")
                    self.assertIn(f"{beginning}{dot}", allowed | {"external_ids."})
                    self.assertEqual(normalise(header), header)
