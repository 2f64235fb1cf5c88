"""The contract of records, in parts."""

from django.test import tag

from .custom_fields import CustomFields
from .field_rights import FieldRights
from .many import Export, ManyAtOnce
from .past import Past
from .reading import Cost, ReadingAndWriting
from .retries import Retries
from .rights import Rights


@tag("once-on-servers")
class RecordContract(
    ReadingAndWriting,
    Cost,
    Retries,
    Rights,
    FieldRights,
    ManyAtOnce,
    Export,
    Past,
    CustomFields,
):
    """What every record type must hold; mixed into a TestCase.

    `path` is the address of the list. `valid` is a body that makes a record; "{n}" in
    its texts becomes a number, so that several may live together. `change` is a body
    for PATCH that changes it. `needs` says, by field, which other records come first:
    the address and body that make one.
    """
