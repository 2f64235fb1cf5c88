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
    for name in ("absence", "activity", "deal", "dealcontact", "lead", "reportschedule")
}


class Migration(migrations.Migration):
    dependencies = [
        ("lead_management", "0012_orders"),
        ("core", "0018_words"),
    ]
    operations = [AddIndexes(WORDS)]
