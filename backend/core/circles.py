"""Records that stand below others of their type, and never below themselves."""

from core.locks import one_at_a_time
from core.models import Journaled


def closes_circle(record: Journaled, name: str) -> bool:
    """Whether what stands above a record, by the field of this name, leads back to it.

    To be asked in the transaction that writes the record, where it gets another one
    above it: until its end no other does. Of two such writes at once each would be
    right by itself, and both together a circle.
    """
    one_at_a_time(f"{name} of {record.record_type()}: {record.organization_id}")
    field = record._meta.get_field(name)
    above, seen = getattr(record, field.attname), {record.pk}
    while above and above not in seen:
        seen.add(above)
        rows = type(record)._base_manager.filter(pk=above)
        above = rows.values_list(field.attname, flat=True).first()
    return above is not None
