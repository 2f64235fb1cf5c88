from django.db import migrations


class Migration(migrations.Migration):
    """The table of letters becomes core's, with its rows (core 0013)."""

    dependencies = [
        ("user_management", "0008_rights_on_scoring_models"),
    ]

    operations = [
        migrations.AlterModelTable("letter", "core_letter"),
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.DeleteModel("letter")]
        ),
    ]
