"""The periodic tasks that the settings name, in the table that Beat reads.

Each entry of CELERY_BEAT_SCHEDULE is a row, made or set right when Beat starts. What
the settings name no more is taken away then; what somebody put there by hand stays.
"""

from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

# Stands in the rows that are the settings', and tells them from others: keep it as is.
MARK = "Set by CELERY_BEAT_SCHEDULE, anew whenever Beat starts."


class Scheduler(DatabaseScheduler):
    def setup_schedule(self):
        ours = PeriodicTask.objects.filter(description=MARK)
        # Before they are read; one by one, so that another Beat learns of it too.
        ours.exclude(name__in=self.app.conf.beat_schedule).delete()
        super().setup_schedule()

    def update_from_dict(self, mapping):
        super().update_from_dict(
            {name: {**entry, "description": MARK} for name, entry in mapping.items()}
        )
