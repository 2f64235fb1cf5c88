"""Records that stand below others of their type, and never below themselves."""

from core.locks import one_at_a_time
from core.models import Journaled


def closes_circle(record: Journaled, name: str) -> bool:
    """Whether what stands above a record, by the field of this name, leads back to it.

    To be asked in the transaction that writes the record, where it gets another one
    above it: until its end no other does. Of two such writes at once each would be
    right by itself, and both together a circle. A new record is above none.
    """
    field = record._meta.get_field(name)
    above, seen = getattr(record, field.attname), {record.pk}
    if above is None or record._state.adding:
        return False
    one_at_a_time(f"{name} of {record.record_type()}: {record.organization_id}")
    while above and above not in seen:
        seen.add(above)
        rows = type(record)._base_manager.filter(pk=above)
        above = rows.values_list(field.attname, flat=True).first()
    return above is not None
