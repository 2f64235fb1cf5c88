from django.contrib.postgres.operations import BtreeGinExtension, TrigramExtension
from django.db import migrations


class Migration(migrations.Migration):
    """What the indexes of searches stand on (core.indexes); nothing on SQLite."""

    dependencies = [
        ("core", "0003_append_only"),
    ]

    operations = [
        TrigramExtension(),
        BtreeGinExtension(),
    ]
