"""Runs the migrations on a connection that `node.schema` hands over; there is no other way in."""

from alembic import context

from node.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata(),
    transactional_ddl=True,
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
