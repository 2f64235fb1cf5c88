from core.importing.mapping import split_tags
from core.tests.test_import_formats import FormatCase


def card(*lines, version="3.0") -> str:
    return "\r\n".join(["BEGIN:VCARD", f"VERSION:{version}", *lines, "END:VCARD", ""])


class VCardTests(FormatCase):
    def test_each_line_may_have_a_charset_of_its_own(self):
        cards = [
            b"N;CHARSET=ISO-8859-1:M\xfcller;J\xf6rg",
            b"N;CHARSET=UTF-8:" + "Żółć;Łukasz".encode(),
            b"N;CHARSET=Shift_JIS;ENCODING=QUOTED-PRINTABLE:=8E=52=93=63;=91=BE=98=59",
            b"N:Zo\xeb;Th\xe9r\xe8se",
        ]
        content = b"".join(
            b"BEGIN:VCARD\r\nVERSION:2.1\r\n" + card + b"\r\nEND:VCARD\r\n"
            for card in cards
        )
        self.assertEqual(
            self.cards(content),
            [
                {"Last Name": "Müller", "First Name": "Jörg"},
                {"Last Name": "Żółć", "First Name": "Łukasz"},
                {"Last Name": "山田", "First Name": "太郎"},
                {"Last Name": "Zoë", "First Name": "Thérèse"},
            ],
        )

    def test_lines_may_end_with_carriage_returns_alone(self):
        self.assertEqual(
            self.cards("BEGIN:VCARD\rVERSION:3.0\rN:King;Ada\rEND:VCARD\r"),
            [{"Last Name": "King", "First Name": "Ada"}],
        )

    def test_a_tag_keeps_the_signs_that_stand_in_it(self):
        text = "BEGIN:VCARD\nVERSION:4.0\nN:King;\nCATEGORIES:a\\;b,c\nEND:VCARD\n"
        (card,) = self.cards(text)
        self.assertEqual(split_tags(card["Tags"]), ["a;b", "c"])

    def test_a_group_of_cards_is_nobody(self):
        group = "BEGIN:VCARD\nVERSION:4.0\nKIND:group\nFN:Friends\nEND:VCARD\n"
        ada = "BEGIN:VCARD\nVERSION:4.0\nN:King;Ada\nEND:VCARD\n"
        self.assertEqual(
            self.cards(group + ada), [{}, {"Last Name": "King", "First Name": "Ada"}]
        )

    def test_each_card_is_a_row_and_what_they_say_the_columns(self):
        text = card("N:Lovelace;Ada;;Lady;", "EMAIL:ada@b.c") + card("N:Boole;George")
        layout, rows = self.read(text)
        self.assertEqual(
            layout.columns, ["Salutation", "First Name", "Last Name", "Email 1"]
        )
        self.assertEqual(
            rows,
            [
                (1, ["Lady", "Ada", "Lovelace", "ada@b.c"]),
                (6, ["", "George", "Boole", ""]),
            ],
        )

    def test_version_2_1_with_its_charsets_and_quoted_printable(self):
        text = card(
            "N;CHARSET=ISO-8859-1;ENCODING=QUOTED-PRINTABLE:M=FCller;J=F6rg",
            "NOTE;ENCODING=QUOTED-PRINTABLE:a long=",
            " story=0D=0Aends",
            "TEL;CELL;VOICE:123",
            "TEL;HOME:456",
            version="2.1",
        )
        [values] = self.cards(text)
        self.assertEqual(values["Last Name"], "Müller")
        self.assertEqual(values["First Name"], "Jörg")
        self.assertEqual(values["Notes"], "a long story\nends")
        self.assertEqual((values["Mobile"], values["Phone 1"]), ("123", "456"))

    def test_version_4_with_addresses_as_uris_and_preferences(self):
        text = card(
            "FN:Simon Perreault",
            'TEL;VALUE=uri;TYPE="work,voice";PREF=2:tel:+1-418-656-9254;ext=102',
            'TEL;VALUE=uri;TYPE="home";PREF=1:tel:+1-418-111',
            "EMAIL;PREF=1:b@c.d",
            "EMAIL:a@c.d",
            version="4.0",
        )
        [values] = self.cards(text)
        self.assertEqual(
            [values[n] for n in ("First Name", "Last Name", "Phone 1", "Phone 2")],
            ["Simon", "Perreault", "+1-418-111", "+1-418-656-9254 ext. 102"],
        )
        self.assertEqual((values["Email 1"], values["Email 2"]), ("b@c.d", "a@c.d"))

    def test_folded_lines_groups_and_escapes(self):
        text = card(
            "FN:x",
            "N:King\\; Noel;Ada",
            "item1.EMAIL;TYPE=INTERNET:ada@exam",
            " ple.com",
            "ORG:Engines\\, Inc.;Analytical",
            "CATEGORIES:one,two\\,three",
        )
        [values] = self.cards(text)
        self.assertEqual(values["Last Name"], "King; Noel")
        self.assertEqual(values["Email 1"], "ada@example.com")
        self.assertEqual(
            (values["Company"], values["Department"]), ("Engines, Inc.", "Analytical")
        )
        self.assertEqual(values["Tags"], '["one","two,three"]')

    def test_a_company_or_an_address_is_no_name_of_a_person(self):
        for line in ("FN:Engines", "FN:info@b.c"):
            [values] = self.cards(card(line, "ORG:Engines", "EMAIL:info@b.c"))
            self.assertEqual(values, {"Company": "Engines", "Email 1": "info@b.c"})

    def test_pictures_are_passed_over_however_they_are_written(self):
        data = "A" * 70
        for picture in (
            ["PHOTO;ENCODING=b;TYPE=JPEG:" + data, *[" " + data] * 9000],
            ["PHOTO;BASE64:", *["  " + data] * 9000, ""],
            ["PHOTO;ENCODING=BASE64:" + data, *[data] * 9000, ""],
            ["PHOTO;ENCODING=b:" + data * 9000],
        ):
            [values] = self.cards(card("N:King", *picture, "EMAIL:a@b.c"))
            self.assertEqual(values, {"Last Name": "King", "Email 1": "a@b.c"})

    def test_fax_numbers_are_no_phones(self):
        [values] = self.cards(card("N:King", "TEL;TYPE=FAX,WORK:1", "TEL;TYPE=WORK:2"))
        self.assertEqual(values, {"Last Name": "King", "Phone 1": "2", "Fax": "1"})

    def test_a_label_of_ones_own_on_android_hides_no_number(self):
        """Its brackets are none of a vCard's: the whole line was passed over."""
        label = "X-CUSTOM(CHARSET=UTF-8,ENCODING=QUOTED-PRINTABLE,=41=72=62=65)"
        lines = (f"TEL;{label}:+491621", f"EMAIL;{label}:in@b.c", "TEL;X-Desk:+49221")
        [values] = self.cards(card("N:King", *lines, version="2.1"))
        found = [values.get(name) for name in ("Phone 1", "Phone 2", "Email 1")]
        self.assertEqual(found, ["+491621", "+49221", "in@b.c"])

    def test_what_goes_on_of_a_line_that_is_passed_over_is_no_line_of_its_own(self):
        """Outlook writes addresses a second time, as labels, over several lines."""
        label = (
            "LABEL;WORK;ENCODING=QUOTED-PRINTABLE:Ring 2=0D=0A=",
            "50667 K=F6ln=0D=0A=",
            "TEL:5",
            "EMAIL:a@b.c",
        )
        [values] = self.cards(card("N:King", *label, version="2.1"))
        self.assertEqual(values, {"Last Name": "King", "Email 1": "a@b.c"})

    def test_whatever_else_a_card_says_of_somebody_is_seen(self):
        """What goes to no field is a column to be left out, or to be mapped."""
        text = card(
            "N:King;Ada;Augusta;Dr.;PhD",
            "NICKNAME:Adi",
            "URL:https://ada.example",
            "URL:https://blog.example",
            "X-SOCIALPROFILE;type=linkedin:http://www.linkedin.com/in/ada",
            "ADR;TYPE=WORK:;;Ring 2;Bonn;;53111;Germany",
            "ADR;TYPE=HOME:;;Weg 1;Ulm;;;",
            "ANNIVERSARY:18350708",
            "X-CUSTOMER-NUMBER:4711",
            "item1.X-ABLabel:x",
            "PRODID:y",
            "REV:20260101T000000Z",
        )
        [values] = self.cards(text)
        self.assertEqual(
            values,
            {
                "Salutation": "Dr.",
                "First Name": "Ada",
                "Middle Name": "Augusta",
                "Last Name": "King",
                "Suffix": "PhD",
                "Address Line 1": "Ring 2",
                "City": "Bonn",
                "Postal Code": "53111",
                "Country": "Germany",
                "Other Addresses": "Weg 1, Ulm",
                "Website": "https://ada.example",
                "LinkedIn": "http://www.linkedin.com/in/ada",
                "Other Websites": "https://blog.example",
                "Anniversary": "18350708",
                "Customer Number": "4711",
                "Nickname": "Adi",
            },
        )

    def test_a_profile_of_a_network_is_no_web_site(self):
        profile = "X-SOCIALPROFILE;TYPE=LINKEDIN:https://linkedin.com/in/ada"
        [values] = self.cards(card("N:King", profile))
        linkedin = "https://linkedin.com/in/ada"
        self.assertEqual(values, {"Last Name": "King", "LinkedIn": linkedin})

    def test_a_file_of_a_thousand_properties_has_as_many_columns_as_any(self):
        lines = [f"X-P{number}:1" for number in range(1000)]
        layout, [row] = self.read(card("N:King", *lines))
        self.assertEqual((len(layout.columns), len(row[1])), (512, 512))

    def test_the_card_of_an_agent_is_not_its_owners(self):
        agent = ["AGENT:", "BEGIN:VCARD", "N:Thomas", "END:VCARD"]
        self.assertEqual(self.cards(card("N:King", *agent)), [{"Last Name": "King"}])

    def test_a_card_without_an_end_is_refused_with_its_line(self):
        self.assertRefused(
            card("N:King") + "BEGIN:VCARD\r\nN:Boole\r\n", "unclosed_card", 5
        )

    def test_a_card_that_never_stops_is_refused(self):
        self.assertRefused(card("N:King", "NOTE:" + "x" * 200_000), "field_too_long", 4)
        notes = ["NOTE:" + "x" * 100_000] * 11
        self.assertRefused(card("N:King", *notes), "row_too_long", 1)

    def test_lines_that_are_none_are_passed_over(self):
        self.assertEqual(
            self.cards(card("N:King", "rubbish", ";;:")), [{"Last Name": "King"}]
        )

    def test_utf_16_is_read(self):
        self.assertEqual(
            self.cards(card("N:Müller").encode("utf-16")), [{"Last Name": "Müller"}]
        )
