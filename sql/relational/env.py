"""How Alembic runs the versions: within the transaction of the connection that it is given."""

from alembic import context

from bt_framework.stores.relational.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
