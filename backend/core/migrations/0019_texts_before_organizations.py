from django.contrib.postgres.search import SearchVector
from django.db import migrations, models

from core.indexes import ReplaceIndexes, SearchIndex, WordsIndex

LIVE = models.Q(("deleted_at", None))
INDEXES = {
    name: [
        SearchIndex(
            fields=["search_text", "organization"],
            condition=LIVE,
            name=f"{name}_search",
        ),
        WordsIndex(
            SearchVector("search_text", config="simple"),
            models.F("organization"),
            condition=LIVE,
            name=f"{name}_words",
        ),
    ]
    for name in ("importmapping",)
}


class Migration(migrations.Migration):
    dependencies = [("core", "0018_words")]
    operations = [ReplaceIndexes(INDEXES)]
