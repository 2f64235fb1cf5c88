from django.db import migrations

VERBS = ("view", "create", "edit", "delete", "export", "import", "assign")
VIEW = {**dict.fromkeys(VERBS, "none"), "view": "all"}
MANAGE = {**VIEW, "create": "all", "edit": "all"}


def give_rights(apps, schema_editor):
    """Everybody sees pipelines; administrators and managers change them."""
    for role in apps.get_model("user_management", "Role").objects.all():
        manages = role.built_in and role.name in ("administrator", "manager")
        role.rights.setdefault("pipeline", MANAGE if manages else VIEW)
        role.save(update_fields=["rights"])


def take_rights(apps, schema_editor):
    for role in apps.get_model("user_management", "Role").objects.all():
        if role.rights.pop("pipeline", None):
            role.save(update_fields=["rights"])


class Migration(migrations.Migration):

    dependencies = [
        ('user_management', '0005_rights_on_custom_fields'),
    ]

    operations = [
        migrations.RunPython(give_rights, take_rights),
    ]
