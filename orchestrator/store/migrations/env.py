"""Alembic's environment: runs on the connection it is given, inside the caller's transaction.

Owns nothing else: opening, locking, versions and backups are orchestrator.store.migrate's.
"""

from __future__ import annotations

from alembic import context

from orchestrator.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # Alembic believes SQLite cannot roll back DDL. It can, once the driver does not commit behind our back; without
    # this, 3 of 4 processes that open an empty directory at the same time crash on half-made tables.
    transactional_ddl=True,
    transaction_per_migration=False,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
