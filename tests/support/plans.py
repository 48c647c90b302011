"""How the databases mean to find what was asked: their own plans."""

from sqlalchemy import event

__all__ = ["plans"]


def plans(database, work):
    """Run `work` and return the plans of the statements it sent."""
    sent = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        if statement.lstrip().upper().startswith("SELECT"):
            sent.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    with database.read() as connection:
        return {
            statement: "\n".join(
                str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters)
            )
            for statement, parameters in sent
        }
