from django.contrib.postgres.search import SearchVector
from django.db import migrations, models

from core.indexes import AddIndexes, WordsIndex

WORDS = {
    name: [
        WordsIndex(
            models.F("organization"),
            SearchVector("search_text", config="simple"),
            condition=models.Q(("deleted_at", None)),
            name=f"{name}_words",
        )
    ]
    for name in ("affiliation", "company", "contact", "contactgroup", "tag")
}


class Migration(migrations.Migration):
    dependencies = [
        ("contact_management", "0007_orders"),
        ("core", "0018_words"),
    ]
    operations = [AddIndexes(WORDS)]
