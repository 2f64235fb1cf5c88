"""What a job could not do, as far as a reader may see the fields it was about."""

from core import access
from core.field_rights import FieldRights
from core.importing.drafts import field_of
from core.models import Job, JobError, Record
from core.registry import record_types

CONCEALED = "It is about a field that your role may not see."


def hidden_columns(job: Job, user) -> dict[str, int]:
    """The columns of an imported file, and their places, that go to hidden fields."""
    rights = access.field_rights(user, job.params.get("record_type", ""))
    columns = job.params.get("columns")
    if not (rights.hidden and columns):
        return {}
    model = record_types()[job.params["record_type"]]
    pairs = zip(columns["columns"], columns["targets"], strict=True)
    return {
        name: place
        for place, (name, target) in enumerate(pairs)
        if target and leads_to_hidden(model, target, rights)
    }


def missing(job: Job, user) -> dict[str, dict[str, int]]:
    """What the rows of an import named that is not there, and how often.

    `not_found` has the columns of it, `unknown_owners` the e-mail addresses.
    """
    hidden = hidden_columns(job, user)
    columns = job.state.get("not_found", {})
    owners = job.state.get("unknown_owners", {})
    if "owner" in access.hidden_fields(user, job.params["record_type"]):
        owners = {}
    return {
        "not_found": {name: n for name, n in columns.items() if name not in hidden},
        "unknown_owners": owners,
    }


def leads_to_hidden(model: type[Record], target: str, rights: FieldRights) -> bool:
    if target == "full_name":
        return not rights.hidden.isdisjoint(("first_name", "last_name"))
    return target in rights.hidden or field_of(model, target) in rights.hidden


def shown(error: JobError, user) -> dict:
    """The column, message and row of an error of an import or of an undo."""
    column, message, row = error.column, error.message, error.row
    if isinstance(row, list):
        places = hidden_columns(error.job, user)
        hidden = column in places
        if places:
            # Blank, so that the other cells keep their places.
            row = ["" if n in places.values() else cell for n, cell in enumerate(row)]
    else:
        record_type = (row or {}).get("record_type", "")
        hidden = column in access.hidden_fields(user, record_type)
    if hidden:
        column, message = "", CONCEALED
    return {"column": column, "message": message, "row": row}
