"""Built-in roles that were made before custom fields get their rights on them."""

from django.db import migrations

VIEW = {
    "view": "all",
    "create": "none",
    "edit": "none",
    "delete": "none",
    "export": "none",
    "import": "none",
    "assign": "none",
}
MANAGE = {**VIEW, "create": "all", "edit": "all"}


def give_rights(apps, schema_editor):
    Role = apps.get_model("user_management", "Role")
    for role in Role.objects.filter(built_in=True).order_by("pk").iterator():
        manages = role.name == "administrator"
        role.rights = {**role.rights, "customfield": MANAGE if manages else VIEW}
        role.save(update_fields=["rights"])


class Migration(migrations.Migration):
    dependencies = [("user_management", "0004_profiles_and_letters")]

    operations = [migrations.RunPython(give_rights, migrations.RunPython.noop)]
