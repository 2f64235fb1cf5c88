"""Headers of contacts in other languages than English.

Those that Outlook writes in German, French, Spanish, Italian, Dutch and Portuguese, and
the plain words of these, of Polish, Russian and Japanese. As in
`contact_management.headers`, the preferred ones of a field come first.
"""

from core.importing.mapping import normalise

_HEADERS_BY_FIELD: dict[str, str] = {
    "salutation": "Anrede|Titre|Civilité|Tratamiento|Titolo|Titel|Aanhef|Tratamento",
    "first_name": "Vorname|Prénom|Nombre|Nome|Voornaam|Imię|Имя|名",
    "last_name": "Nachname|Familienname|Zuname|Nom|Nom de famille|Apellidos|Apellido"
    "|Cognome|Achternaam|Sobrenome|Apelido|Nazwisko|Фамилия|姓",
    "email": "E-Mail-Adresse|Mailadresse|E-Mail geschäftlich|Adresse de messagerie"
    "|Adresse e-mail|Courriel|Dirección de correo electrónico|Correo electrónico|Correo"
    "|Indirizzo posta elettronica|Indirizzo e-mail|Posta elettronica|E-mailadres"
    "|Endereço de email|Endereço de e-mail|Correio eletrônico|Adres e-mail|Эл. почта"
    "|Электронная почта|Почта|メールアドレス|電子メール アドレス|メール|E-Mail privat",
    "phone": "Telefon geschäftlich|Telefon|Telefonnummer|Haupttelefon|Telefon Firma"
    "|Téléphone (bureau)|Téléphone|Tél.|Teléfono del trabajo|Teléfono"
    "|Telefono (ufficio)|Ufficio|Telefono|Telefoon op werk|Telefoon|Telefoonnummer"
    "|Telefone comercial|Telefone|Numer telefonu|Телефон|電話番号|電話"
    "|Telefon (privat)|Téléphone (domicile)|Teléfono particular|Abitazione"
    "|Telefoon thuis|Telefone residencial|Weiteres Telefon",
    "mobile": "Mobiltelefon|Mobil|Handy|Handynummer|Tél. mobile|Téléphone mobile"
    "|Portable|Móvil|Teléfono móvil|Celular|Cellulare|Mobiele telefoon|Mobiel"
    "|Telefone celular|Telemóvel|Telefon komórkowy|Komórka|Мобильный|携帯電話",
    "company_name": "Firma|Unternehmen|Société|Entreprise|Organización|Empresa"
    "|Compañía|Società|Azienda|Bedrijf|Компания|Организация|会社名|会社",
    "job_title": "Funktion|Fonction|Poste|Puesto|Cargo|Posizione|Qualifica|Functie"
    "|Stanowisko|Должность|役職",
    "department": "Abteilung|Service|Département|Departamento|Reparto|Afdeling|Dział"
    "|Отдел|部署",
    "address_line_1": "Straße geschäftlich|Straße|Strasse|Adresse|Rue (bureau)|Rue"
    "|Calle del trabajo|Calle|Dirección|Via (uff.)|Via|Indirizzo|Werkadres, straat"
    "|Straat|Rua do Endereço Comercial|Rua|Endereço|Morada|Ulica|Адрес|Улица|住所"
    "|Straße privat|Rue (domicile)|Calle particular|Via (ab.)|Huisadres, straat"
    "|Rua do Endereço Residencial",
    "address_line_2": "Straße geschäftlich 2|Adresszusatz|Rue (bureau) 2"
    "|Complément d'adresse|Calle del trabajo 2|Via (uff.) 2|Straße privat 2",
    "city": "Ort geschäftlich|Ort|Stadt|Ville (bureau)|Ville|Ciudad de trabajo|Ciudad"
    "|Città (uff.)|Città|Werkadres, plaats|Plaats|Woonplaats"
    "|Cidade do Endereço Comercial|Cidade|Miasto|Miejscowość|Город|市区町村|Ort privat"
    "|Ville (domicile)|Ciudad de residencia|Città (ab.)|Huisadres, plaats"
    "|Cidade do Endereço Residencial",
    "state": "Region geschäftlich|Bundesland|Dép/Région (bureau)|Région"
    "|Provincia o estado de trabajo|Provincia (uff.)|Provincia"
    "|Werkadres, provincie|Provincie|Estado do Endereço Comercial|Estado|Województwo"
    "|Область|Регион|都道府県|Region privat|Dép/Région (domicile)|Provincia (ab.)",
    "postal_code": "Postleitzahl geschäftlich|Postleitzahl|PLZ|Code postal (bureau)"
    "|Code postal|Código postal del trabajo|Código postal|CAP (uff.)|CAP"
    "|Werkadres, postcode|CEP do Endereço Comercial|CEP|Kod pocztowy|Индекс"
    "|Почтовый индекс|郵便番号|Postleitzahl privat|Code postal (domicile)"
    "|Código postal particular|CAP (ab.)|Huisadres, postcode",
    "country": "Land/Region geschäftlich|Land|Pays/Région (bureau)|Pays"
    "|País o región del trabajo|País|Paese (uff.)|Paese|Werkadres, land/regio"
    "|País/Região do Endereço Comercial|Kraj|Страна|国|Land/Region privat"
    "|Pays/Région (domicile)|País o región particular|Paese (ab.)",
    "website": "Webseite|Internetseite|Homepage|Page Web|Site web|Página web|Sitio web"
    "|Pagina Web|Sito web|Webpagina|Strona internetowa|Сайт|Web ページ",
    "notes": "Notizen|Bemerkungen|Bemerkung|Anmerkungen|Remarques|Notas|Notities"
    "|Anotações|Observações|Notatki|Uwagi|Примечания|Заметки|メモ",
    "tags": "Kategorien|Schlagwörter|Catégories|Étiquettes|Categorías|Etiquetas"
    "|Categorie|Categorieën|Categorias|Kategorie|Теги|分類項目",
    "source": "Quelle|Herkunft|Origine|Origen|Bron|Origem|Źródło|Источник",
}

HEADERS_ABROAD: dict[str, str] = {
    normalise(header): field
    for field, headers in _HEADERS_BY_FIELD.items()
    for header in headers.split("|")
}
