from django.apps import AppConfig
from django.db.backends.signals import connection_created


class CoreConfig(AppConfig):
    name = "core"

    def ready(self):
        connection_created.connect(add_functions)


def add_functions(sender, connection, **kwargs):
    """Give SQLite what PostgreSQL has by itself."""
    from core.search import word_similarity

    if connection.vendor == "sqlite":
        connection.connection.create_function(
            "word_similarity", 2, word_similarity, deterministic=True
        )
