import unittest

from contact_management.headers import COMPANY_HEADERS, CONTACT_HEADERS
from contact_management.normalisation import country_code
from core.importing.mapping import ColumnMap, normalise

FIELDS = {
    "salutation",
    "first_name",
    "last_name",
    "email",
    "phone",
    "mobile",
    "company_name",
    "company_domain",
    "company_external_id.hubspot",
    "company_external_id.salesforce",
    "company_external_id.pipedrive",
    "job_title",
    "department",
    "address_line_1",
    "address_line_2",
    "city",
    "state",
    "postal_code",
    "country",
    "contact_type",
    "source",
    "status",
    "website",
    "linkedin",
    "notes",
    "tags",
    "owner",
}


# Their headers are those of other programs alone.
EXTERNAL_IDS = {field for field in FIELDS if "." in field}


class ContactHeadersTests(unittest.TestCase):
    def assert_suggested(self, columns: str, expected: dict[str, str]) -> ColumnMap:
        """Check the mapping of comma separated columns; what is not named is ignored.

        Returns the map, for a look at the values.
        """
        column_map = ColumnMap.suggest(columns.split(","), CONTACT_HEADERS)
        mapped = {
            column: target for column, target in column_map.as_dict().items() if target
        }
        self.assertEqual(mapped, expected)
        return column_map

    def test_the_fields_own_names_are_known(self) -> None:
        for field in FIELDS - EXTERNAL_IDS:
            self.assertEqual(CONTACT_HEADERS[normalise(field)], field)

    def test_every_header_leads_to_a_field_and_is_normalised(self) -> None:
        self.assertEqual(set(CONTACT_HEADERS.values()), FIELDS)
        for header in CONTACT_HEADERS:
            self.assertEqual(normalise(header), header)

    def test_google_contacts(self) -> None:
        column_map = self.assert_suggested(
            "First Name,Middle Name,Last Name,Phonetic First Name,Name Prefix,"
            "Name Suffix,Nickname,File As,Organization Name,Organization Title,"
            "Organization Department,Birthday,Notes,Photo,Labels,E-mail 1 - Label,"
            "E-mail 1 - Value,Phone 1 - Label,Phone 1 - Value,Address 1 - Label,"
            "Address 1 - Formatted,Address 1 - Street,Address 1 - City,"
            "Address 1 - PO Box,Address 1 - Region,Address 1 - Postal Code,"
            "Address 1 - Country,Address 1 - Extended Address,Relation 1 - Label,"
            "Relation 1 - Value,Website 1 - Label,Website 1 - Value",
            {
                "First Name": "first_name",
                "Last Name": "last_name",
                "Name Prefix": "salutation",
                "Organization Name": "company_name",
                "Organization Title": "job_title",
                "Organization Department": "department",
                "Notes": "notes",
                "Labels": "tags",
                "E-mail 1 - Value": "email",
                "Phone 1 - Value": "phone",
                "Address 1 - Street": "address_line_1",
                "Address 1 - City": "city",
                "Address 1 - Region": "state",
                "Address 1 - Postal Code": "postal_code",
                "Address 1 - Country": "country",
                "Address 1 - Extended Address": "address_line_2",
                "Website 1 - Value": "website",
            },
        )
        cells = [""] * len(column_map.columns)
        cells[17:19] = ["Mobile", "0170 1"]
        self.assertEqual(
            column_map.values(cells), {"mobile": ("0170 1", "Phone 1 - Value")}
        )

    def test_google_contacts_as_it_used_to_be(self) -> None:
        self.assert_suggested(
            "Name,Given Name,Additional Name,Family Name,Yomi Name,Name Prefix,"
            "Name Suffix,Initials,Occupation,Subject,Notes,Group Membership,"
            "E-mail 1 - Type,E-mail 1 - Value,Phone 7 - Type,Phone 7 - Value,"
            "Address 2 - Type,Address 2 - Street,Organization 1 - Type,"
            "Organization 1 - Name,Organization 1 - Title,"
            "Organization 1 - Department,Organization 1 - Job Description,"
            "Website 1 - Type,Website 1 - Value",
            {
                "Name": "full_name",
                "Given Name": "first_name",
                "Family Name": "last_name",
                "Name Prefix": "salutation",
                "Notes": "notes",
                "Group Membership": "tags",
                "E-mail 1 - Value": "email",
                "Phone 7 - Value": "phone",
                "Address 2 - Street": "address_line_1",
                "Organization 1 - Name": "company_name",
                "Organization 1 - Title": "job_title",
                "Organization 1 - Department": "department",
                "Website 1 - Value": "website",
            },
        )

    def test_outlook(self) -> None:
        column_map = self.assert_suggested(
            "Title,First Name,Middle Name,Last Name,Suffix,Company,Department,"
            "Job Title,Home Street,Home City,Business Street,Business Street 2,"
            "Business Street 3,Business City,Business State,Business Postal Code,"
            "Business Country/Region,Business Fax,Home Phone,Business Phone,"
            "Mobile Phone,Pager,Categories,E-mail Address,E-mail Type,"
            "E-mail Display Name,E-mail 2 Address,E-mail 2 Display Name,Web Page",
            {
                "Title": "salutation",
                "First Name": "first_name",
                "Last Name": "last_name",
                "Company": "company_name",
                "Department": "department",
                "Job Title": "job_title",
                "Home Street": "address_line_1",
                "Home City": "city",
                "Business Street": "address_line_1",
                "Business Street 2": "address_line_2",
                "Business City": "city",
                "Business State": "state",
                "Business Postal Code": "postal_code",
                "Business Country/Region": "country",
                "Home Phone": "phone",
                "Business Phone": "phone",
                "Mobile Phone": "mobile",
                "Categories": "tags",
                "E-mail Address": "email",
                "E-mail 2 Address": "email",
                "Web Page": "website",
            },
        )
        row = dict.fromkeys(column_map.columns, "")
        row |= {"Home Phone": "1", "Business Phone": "2", "E-mail 2 Address": "a@b.c"}
        self.assertEqual(
            column_map.values(list(row.values())),
            {"phone": ("2", "Business Phone"), "email": ("a@b.c", "E-mail 2 Address")},
        )

    def test_hubspot(self) -> None:
        self.assert_suggested(
            "Record ID,First Name,Last Name,Email,Phone Number,Mobile Phone Number,"
            "Job Title,Contact owner,Lifecycle Stage,Lead Status,Lead Source,"
            "Create Date,Company Name,Website URL,Street Address,City,State/Region,"
            "Postal Code,Country/Region,Associated Company Domain",
            {
                "First Name": "first_name",
                "Last Name": "last_name",
                "Email": "email",
                "Phone Number": "phone",
                "Mobile Phone Number": "mobile",
                "Job Title": "job_title",
                "Contact owner": "owner",
                "Lead Source": "source",
                "Company Name": "company_name",
                "Website URL": "website",
                "Street Address": "address_line_1",
                "City": "city",
                "State/Region": "state",
                "Postal Code": "postal_code",
                "Country/Region": "country",
                "Associated Company Domain": "company_domain",
            },
        )
        self.assert_suggested(
            "Email,Associated Company IDs,Company Domain Name",
            {
                "Email": "email",
                "Associated Company IDs": "company_external_id.hubspot",
                "Company Domain Name": "company_domain",
            },
        )

    def test_pipedrive(self) -> None:
        names = {
            "Person - Email - Work": "email",
            "Person - Email - Home": "email",
            "Person - Phone - Work": "phone",
            "Person - Phone - Mobile": "mobile",
            "Person - Organization": "company_name",
            "Person - Title": "job_title",
            "Person - City": "city",
            "Person - Website": "website",
        }
        columns = ",".join(names) + ",Person - Marketing status"
        parts = {"Person - First name": "first_name", "Person - Last name": "last_name"}
        names |= {"Person - Name": "full_name"}
        self.assert_suggested("Person - Name," + columns, names)
        self.assert_suggested(
            ",".join(["Person - Name", *parts, columns]), parts | names
        )

    def test_salesforce(self) -> None:
        expected = {
            "FirstName": "first_name",
            "LastName": "last_name",
            "Salutation": "salutation",
            "Title": "job_title",
            "Account.Name": "company_name",
            "MailingStreet": "address_line_1",
            "MailingCity": "city",
            "MailingState": "state",
            "MailingPostalCode": "postal_code",
            "MailingCountry": "country",
            "MobilePhone": "mobile",
            "HomePhone": "phone",
            "LeadSource": "source",
            "Description": "notes",
        }
        self.assert_suggested(
            ",".join(["Id", "Name", *expected, "Fax", "OwnerId", "Rating__c"]),
            {"Name": "full_name", **expected},
        )
        shouted = {header.upper(): field for header, field in expected.items()}
        self.assert_suggested(",".join(shouted), shouted)
        self.assert_suggested(
            "Company / Account,Mailing State/Province,Mailing Zip/Postal Code",
            {
                "Company / Account": "company_name",
                "Mailing State/Province": "state",
                "Mailing Zip/Postal Code": "postal_code",
            },
        )

    def test_zoho(self) -> None:
        expected = {
            "Contact Owner": "owner",
            "Lead Source": "source",
            "First Name": "first_name",
            "Last Name": "last_name",
            "Account Name": "company_name",
            "Email": "email",
            "Secondary Email": "email",
            "Title": "job_title",
            "Phone": "phone",
            "Mobile": "mobile",
            "Mailing Street": "address_line_1",
            "Mailing Zip": "postal_code",
            "Other Zip": "postal_code",
            "Description": "notes",
            "Tag": "tags",
        }
        self.assert_suggested(
            ",".join(["Record Id", *expected, "Assistant", "Asst Phone"]), expected
        )

    def test_suitecrm(self) -> None:
        expected = {
            "Salutation": "salutation",
            "First Name": "first_name",
            "Last Name": "last_name",
            "Title": "job_title",
            "Account Name": "company_name",
            "Email Address": "email",
            "Mobile": "mobile",
            "Office Phone": "phone",
            "Primary Address Street": "address_line_1",
            "Primary Address Postal Code": "postal_code",
            "Alternate Address Postalcode": "postal_code",
            "primary_address_city": "city",
            "alt_address_street": "address_line_1",
            "phone_work": "phone",
            "Lead Source": "source",
        }
        self.assert_suggested(
            ",".join(["ID", *expected, "Assigned to", "Fax"]), expected
        )

    def test_thunderbird(self) -> None:
        expected = {
            "First Name": "first_name",
            "Last Name": "last_name",
            "Primary Email": "email",
            "Work Phone": "phone",
            "Mobile Number": "mobile",
            "Work Address": "address_line_1",
            "Work Address 2": "address_line_2",
            "Work ZipCode": "postal_code",
            "Organization": "company_name",
            "Web Page 1": "website",
        }
        self.assert_suggested(
            ",".join(["Display Name", *expected, "Fax Number", "Pager Number"]),
            {"Display Name": "full_name", **expected},
        )

    def test_plain_numbered_address_lines_belong_together(self) -> None:
        column_map = self.assert_suggested(
            "Address 1,Address 2,City",
            {"Address 1": "address_line_1", "Address 2": "address_line_2"}
            | {"City": "city"},
        )
        self.assertEqual(
            column_map.values(["Elm 1", "Floor 2", "Rome"]),
            {
                "address_line_1": ("Elm 1", "Address 1"),
                "address_line_2": ("Floor 2", "Address 2"),
                "city": ("Rome", "City"),
            },
        )


class NumberedTests(unittest.TestCase):
    def test_of_numbered_addresses_the_first_is_preferred(self) -> None:
        columns = ("Email 1", "Email 2", "Email 3")
        column_map = ColumnMap.suggest(columns, CONTACT_HEADERS)
        cells = ["a@b.example", "b@b.example", "c@b.example"]
        self.assertEqual(column_map.values(cells)["email"], ("a@b.example", "Email 1"))
        further = [value for _, value, _ in column_map.further(cells)]
        self.assertEqual(further, ["b@b.example", "c@b.example"])


class CompanyHeadersTests(unittest.TestCase):
    """What a type has of its own, such as `name`, is known by its field's name."""

    def assert_known(self, columns: dict[str, str]) -> None:
        found = ColumnMap.suggest(tuple(columns), COMPANY_HEADERS)
        self.assertEqual((found.as_dict(), found.guesses), (columns, ()))

    def test_those_of_other_programs_are_known(self) -> None:
        self.assert_known(
            {
                "Company owner": "owner",
                "Company Domain Name": "domain",
                "Street Address": "address_line_1",
                "Street Address 2": "address_line_2",
                "Number of Employees": "size",
            }
        )
        self.assert_known(
            {
                "Organization - Name": "name",
                "Organization - Label": "tags",
                "Organization - Owner": "owner",
                "Organization - Address": "address_line_1",
                "Organization - Website": "website",
            }
        )
        self.assert_known(
            {
                "BillingStreet": "address_line_1",
                "BillingPostalCode": "postal_code",
                "Office Phone": "phone",
                "Account Owner": "owner",
                "Tag": "tags",
                "Notes": "description",
            }
        )

    def test_those_in_other_languages_are_known(self) -> None:
        self.assert_known(
            {
                "Firma": "name",
                "Straße": "address_line_1",
                "PLZ": "postal_code",
                "Ort": "city",
                "Land": "country",
                "Telefon": "phone",
                "Webseite": "website",
                "Bemerkungen": "description",
            }
        )
        self.assert_known(
            {"Société": "name", "Ville": "city", "Téléphone": "phone"}
            | {"Prénom": None, "Tél. mobile": None}
        )


class AbroadTests(unittest.TestCase):
    def read(self, row: dict[str, str]) -> dict[str, str]:
        column_map = ColumnMap.suggest(tuple(row), CONTACT_HEADERS)
        values = column_map.values(list(row.values()))
        return {target: value for target, (value, _) in values.items()}

    def test_outlook_in_german_keeps_its_two_addresses_apart(self) -> None:
        row = {
            "Anrede": "Herr",
            "Vorname": "Jörg",
            "Nachname": "Groß",
            "Position": "Leiter",
            "Straße geschäftlich": "Ring 2",
            "Ort geschäftlich": "",
            "Straße privat": "Weg 1",
            "Ort privat": "Bonn",
            "Telefon (privat)": "0228 2",
            "Telefon geschäftlich": "0228 1",
            "E-Mail 2: Adresse": "g@example.de",
            "E-Mail-Adresse": "j@example.de",
        }
        self.assertEqual(
            self.read(row),
            {
                "salutation": "Herr",
                "first_name": "Jörg",
                "last_name": "Groß",
                "job_title": "Leiter",
                "address_line_1": "Ring 2",
                "phone": "0228 1",
                "email": "g@example.de",
            },
        )

    def test_outlook_in_french(self) -> None:
        row = {
            "Titre": "M.",
            "Prénom": "Zoé",
            "Nom": "Roux",
            "Fonction": "Chef",
            "Ville (bureau)": "Lyon",
            "Ville (domicile)": "Nice",
            "Tél. mobile": "06 1",
            "Adresse de messagerie": "z@example.fr",
        }
        self.assertEqual(
            self.read(row),
            {
                "salutation": "M.",
                "first_name": "Zoé",
                "last_name": "Roux",
                "job_title": "Chef",
                "city": "Lyon",
                "mobile": "06 1",
                "email": "z@example.fr",
            },
        )

    def test_countries_are_known_by_their_names_in_other_languages(self) -> None:
        for name in ("Deutschland", "Allemagne", "Alemania", "Германия", "ドイツ"):
            self.assertEqual(country_code(name), "DE")
