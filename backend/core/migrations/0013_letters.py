import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import core.ids


class Migration(migrations.Migration):
    """The letters of people's accounts become the outbox of all e-mail."""

    dependencies = [
        ('core', '0013_figures'),
        ('user_management', '0009_letters_to_core'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='Letter',
                    fields=[
                        ('id', models.UUIDField(default=core.ids.new_id, editable=False, primary_key=True, serialize=False)),
                        ('kind', models.CharField(max_length=20)),
                        ('email', models.EmailField(help_text='Where it goes.', max_length=254)),
                        ('link', models.CharField(blank=True, help_text='With a place for the key.', max_length=500)),
                        ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                        ('due_at', models.DateTimeField(default=django.utils.timezone.now, help_text='When a worker may try, or try again.')),
                        ('sent_at', models.DateTimeField(null=True)),
                        ('expires_at', models.DateTimeField()),
                        ('ended_at', models.DateTimeField(null=True)),
                        ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='letters', to=settings.AUTH_USER_MODEL)),
                    ],
                    options={
                        'ordering': ['-created_at', '-id'],
                        'indexes': [models.Index(condition=models.Q(('ended_at', None), ('sent_at', None)), fields=['due_at'], name='letter_due')],
                    },
                ),
            ]
        ),
    ]
