"""Many new records that begin alike."""

from django.db import models
from django.db.models.base import ModelState
from django.db.models.signals import post_init, pre_init
from django.utils import timezone


class Template:
    """Makes new records of one model, all with the same values at first.

    As `model(**values)` does in several times the time, for that goes through all
    fields again for each. What a default makes anew, such as an id or a list, each
    record has for itself; the moment at which they began is the same for all.
    """

    def __init__(self, model: type[models.Model], **values) -> None:
        if pre_init.has_listeners(model) or post_init.has_listeners(model):
            raise TypeError(f"Somebody wants to know of each new {model.__name__}.")
        first = model(**values)
        self.model = model
        self.related = first._state.fields_cache
        given = {model._meta.get_field(name).attname for name in values}
        self.made = [
            (f.attname, f.default)
            for f in model._meta.concrete_fields
            if f.has_default()
            and callable(f.default)
            and f.default is not timezone.now
            and f.attname not in given
        ]
        made = {name for name, _ in self.made}
        self.values = {
            name: value
            for name, value in vars(first).items()
            if name != "_state" and name not in made
        }

    def new(self) -> models.Model:
        record = self.model.__new__(self.model)
        state = ModelState()
        state.fields_cache = self.related.copy()
        vars(record).update(self.values, _state=state)
        for name, default in self.made:
            vars(record)[name] = default()
        return record
