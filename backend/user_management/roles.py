"""The roles that every organization starts with."""

from core.access import Scope, Verb

# Rights on every record type that a role does not name by itself.
ANY_RECORD = "*"


def rights(
    view=Scope.NONE,
    create=Scope.NONE,
    edit=Scope.NONE,
    delete=Scope.NONE,
    export=Scope.NONE,
    import_=Scope.NONE,
    assign=Scope.NONE,
) -> dict[str, str]:
    scopes = (view, create, edit, delete, export, import_, assign)
    return {str(verb): str(scope) for verb, scope in zip(Verb, scopes, strict=True)}


# What rights can name besides what the journal follows.
LOGS = ("auditlog", "changeset", "job")

NONE, OWN, TEAM, ALL = Scope
EVERYTHING = rights(*[ALL] * 7)

# Everybody sees who their colleagues are, and what they did themselves.
EVERYBODY = {
    "user": rights(view=ALL, edit=OWN),
    "role": rights(view=ALL),
    "team": rights(view=ALL),
    "customfield": rights(view=ALL),
    "assignmentrule": rights(view=ALL),
    "availability": rights(view=ALL, create=OWN, edit=OWN),
    "pipeline": rights(view=ALL),
    "scoringmodel": rights(view=ALL),
    "changeset": rights(view=OWN),
    "job": rights(view=OWN, edit=OWN),
    "apikey": rights(view=OWN, create=OWN, edit=OWN),
}

BUILT_IN = {
    "administrator": {
        ANY_RECORD: EVERYTHING,
        "user": rights(view=ALL, create=ALL, edit=ALL),
        "role": rights(view=ALL, create=ALL, edit=ALL),
        "team": rights(view=ALL, create=ALL, edit=ALL),
        "organization": rights(view=ALL, edit=ALL),
        "assignmentrule": rights(view=ALL, create=ALL, edit=ALL),
        "availability": rights(view=ALL, create=ALL, edit=ALL),
        "pipeline": rights(view=ALL, create=ALL, edit=ALL),
        "scoringmodel": rights(view=ALL, create=ALL, edit=ALL),
        "changeset": rights(view=ALL),
        "auditlog": rights(view=ALL, export=ALL),
        "customfield": rights(view=ALL, create=ALL, edit=ALL),
        "job": rights(view=ALL, edit=ALL),
        "apikey": rights(view=ALL, create=OWN, edit=ALL),
    },
    "manager": {
        **EVERYBODY,
        ANY_RECORD: EVERYTHING,
        "assignmentrule": rights(view=ALL, create=ALL, edit=ALL),
        "availability": rights(view=ALL, create=ALL, edit=ALL),
        "pipeline": rights(view=ALL, create=ALL, edit=ALL),
        "scoringmodel": rights(view=ALL, create=ALL, edit=ALL),
        "changeset": rights(view=ALL),
    },
    "sales_rep": {
        **EVERYBODY,
        ANY_RECORD: rights(
            view=TEAM,
            create=OWN,
            edit=OWN,
            delete=OWN,
            export=OWN,
            import_=OWN,
            assign=TEAM,
        ),
    },
    "marketing": {
        **EVERYBODY,
        ANY_RECORD: rights(
            view=ALL,
            create=OWN,
            edit=OWN,
            delete=OWN,
            export=ALL,
            import_=OWN,
            assign=OWN,
        ),
    },
    "customer_support": {
        **EVERYBODY,
        ANY_RECORD: rights(view=ALL, create=OWN, edit=ALL, assign=OWN),
    },
    "read_only": {**EVERYBODY, ANY_RECORD: rights(view=ALL)},
}
