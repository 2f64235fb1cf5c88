from django.db import migrations
from django.db.models import OuterRef, Subquery


def note(apps, schema_editor):
    """Letters know the organization that their users are of."""
    Letter = apps.get_model("core", "Letter")
    User = apps.get_model("user_management", "User")
    theirs = User.objects.filter(pk=OuterRef("user")).values("organization")[:1]
    Letter.objects.filter(organization=None).update(organization=Subquery(theirs))


class Migration(migrations.Migration):
    dependencies = [("core", "0014_outbox")]

    operations = [migrations.RunPython(note, migrations.RunPython.noop)]
