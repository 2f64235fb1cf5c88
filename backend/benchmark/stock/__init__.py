"""The list of contacts as the documentation of Django REST framework builds it.

A `ModelViewSet` with a `ModelSerializer`, two users nested in each contact, pages with
a count, a JWT for each request, and the default middlewares: no cache, no journal,
no scopes, no search words. The tables are those of MyCRM.
"""
