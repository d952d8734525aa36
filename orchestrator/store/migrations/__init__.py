"""The store's schema, step by step (Alembic). Run only by orchestrator.store.migrate, inside its transaction."""
