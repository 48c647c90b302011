"""Runs the migrations on the connection that `node.schema` hands over; there is no other way in."""

from alembic import context

from node.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata())
context.run_migrations()
