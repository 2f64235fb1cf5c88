"""What Prometheus reads at /metrics, and nothing of it tells of a person.

    measures     counted as it happens, in each process
    gauges       asked of the database and the broker when somebody looks
    figures      counted by a worker now and then, for they take long
    middleware   measures requests, and answers /metrics

A label never has a value that a client or a user can make up: routes, not paths.
"""
