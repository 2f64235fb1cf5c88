"""MyCRM beside stock Django REST framework and PostgreSQL alone, on one machine.

`./run_tests.sh benchmark`. Nothing here is loaded where MyCRM serves.
"""
