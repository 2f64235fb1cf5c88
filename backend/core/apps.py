from django.apps import AppConfig


class CoreConfig(AppConfig):
    name = "core"

    def ready(self):
        from django.db.backends.signals import connection_created

        from core import connections
        from core.metrics import measures

        connection_created.connect(measures.time_queries)
        connection_created.connect(connections.note_answers)
        connections.take_over()
