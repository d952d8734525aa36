"""The store's schema, step by step (Alembic). Run only by orchestrator.store.migrate, inside its transaction.

To add a step: change tables.py, write versions/000N_name.py with the next number as its revision, and raise CURRENT in
migrate.py. tests/store/test_migrations.py holds the three together.
"""
