from django.apps import AppConfig


class StockConfig(AppConfig):
    name = "benchmark.stock"
    label = "stock"
