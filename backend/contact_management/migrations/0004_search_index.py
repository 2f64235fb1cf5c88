from django.db import migrations

from core.indexes import SearchIndex
from core.search import search_text

BATCH = 1000


def fill(apps, schema_editor):
    """What later writes keep up to date."""
    from contact_management import models

    for name in ("Contact", "Tag"):
        model = apps.get_model("contact_management", name)
        model.searched_fields = getattr(models, name).searched_fields
        batch = []
        for record in model.objects.iterator(chunk_size=BATCH):
            record.search_text = search_text(record)
            batch.append(record)
            if len(batch) == BATCH:
                model.objects.bulk_update(batch, ["search_text"])
                batch = []
        model.objects.bulk_update(batch, ["search_text"])


class Migration(migrations.Migration):

    dependencies = [
        ("contact_management", "0003_search_text"),
        ("core", "0004_search_extensions"),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
        SearchIndex("Contact"),
        SearchIndex("Tag"),
    ]
