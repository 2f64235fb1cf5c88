from django.db import migrations

from core.append_only import AppendOnly


class Migration(migrations.Migration):

    dependencies = [
        ('core', '0003_audit_log'),
    ]

    operations = [
        AppendOnly('ChangeSet'),
        AppendOnly('Change'),
        AppendOnly('SecurityEvent'),
    ]
