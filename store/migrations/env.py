"""Alembic's entry: runs the migrations on the connection that :mod:`store.migrate` opened."""

from __future__ import annotations

from alembic import context

from store.postgres import SCHEMA

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema=SCHEMA,
    version_table="schema_version",
)
with context.begin_transaction():
    context.run_migrations()
