from django.db import models


class AppendOnlyQuerySet(models.QuerySet):
    def _refuse(self, *args, **kwargs):
        raise TypeError("Rows of this table are only ever added.")

    bulk_update = update = delete = _refuse
    _refuse.alters_data = True
    _refuse.queryset_only = False

    def bulk_create(self, *args, update_conflicts=False, **kwargs):
        if update_conflicts:
            self._refuse()
        return super().bulk_create(*args, **kwargs)


class AppendOnly(models.Model):
    """A row that is written once. The database refuses the rest (core.append_only)."""

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *args, **kwargs):
        if not self._state.adding:
            raise TypeError("Rows of this table are only ever added.")
        super().save(*args, **{**kwargs, "force_insert": True})

    def delete(self, *args, **kwargs):
        raise TypeError("Rows of this table are only ever added.")
