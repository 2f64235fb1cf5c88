import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """The stays of deals are kept as those of leads are; they begin anew."""

    dependencies = [
        ('lead_management', '0003_deals'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='deal',
            name='company_name',
            field=models.CharField(blank=True, help_text='As it was given, whoever that is.', max_length=200),
        ),
        migrations.AddField(
            model_name='deal',
            name='stage_since',
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
        migrations.DeleteModel(name='DealStay'),
        migrations.CreateModel(
            name='DealStay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('entered_at', models.DateTimeField()),
                ('left_at', models.DateTimeField()),
                ('duration', models.DurationField()),
                ('deal', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='stays', to='lead_management.deal')),
                ('ended_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('organization', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.organization')),
                ('stage', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='lead_management.stage')),
            ],
            options={
                'ordering': ['entered_at'],
                'indexes': [models.Index(fields=['stage', 'left_at'], name='deal_stay_left')],
                'constraints': [models.UniqueConstraint(fields=('deal', 'entered_at'), name='deal_stay_unique')],
            },
        ),
    ]
