"""Built-in roles get their rights on rules of assignment and on availability."""

from django.db import migrations

VERBS = ("view", "create", "edit", "delete", "export", "import", "assign")
VIEW = {**dict.fromkeys(VERBS, "none"), "view": "all"}
MANAGE = {**VIEW, "create": "all", "edit": "all"}
OWN = {**VIEW, "create": "own", "edit": "own"}


def give_rights(apps, schema_editor):
    Role = apps.get_model("user_management", "Role")
    for role in Role.objects.filter(built_in=True).order_by("pk").iterator():
        manages = role.name in ("administrator", "manager")
        role.rights = {
            **role.rights,
            "assignmentrule": MANAGE if manages else VIEW,
            "availability": MANAGE if manages else OWN,
        }
        role.save(update_fields=["rights"])


class Migration(migrations.Migration):
    dependencies = [("user_management", "0006_rights_on_pipelines")]

    operations = [migrations.RunPython(give_rights, migrations.RunPython.noop)]
