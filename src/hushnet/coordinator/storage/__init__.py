"""Databases: SQLite embedded, Postgres shared; one set of statements, one line of migrations.

Nouns: a *database* runs work in transactions; a *store* keeps one domain's rows; a *revision* changes the schema.
Place on the map: beside `api`, above the domains whose store protocols it implements; only `app` joins the two.
"""
