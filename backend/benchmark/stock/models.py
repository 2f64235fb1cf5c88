from django.db import models

from contact_management.models import Contact


def plain(field: models.Field) -> models.Field:
    """The column as a stock field, without what MyCRM's fields know beside it."""
    if not field.is_relation:
        return field.clone()
    return models.ForeignKey(
        field.remote_field.model, models.DO_NOTHING, related_name="+", null=field.null
    )


class StockMeta:
    managed = False
    app_label = "stock"
    db_table = Contact._meta.db_table
    ordering = ["-created_at", "-id"]


StockContact = type(
    "StockContact",
    (models.Model,),
    {
        **{field.name: plain(field) for field in Contact._meta.concrete_fields},
        "__module__": __name__,
        "Meta": StockMeta,
    },
)
