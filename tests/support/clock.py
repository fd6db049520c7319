"""A database clock that a test sets: the SQL functions behind `database_now` are shadowed, in the test's database alone."""

from __future__ import annotations

from sqlalchemy import event, text

from core.database import Database

EPOCH_JULIAN_DAY = 2440587.5
START_SECONDS = 1_700_000_000.0


class DatabaseClock:
    """Stands still until it is told to advance. Made before the database's first connection."""

    def __init__(self, database: Database) -> None:
        self.seconds = START_SECONDS
        self._database = database
        self._in_database = database.engine.dialect.name == "postgresql"
        if self._in_database:
            self._shadow_clock_timestamp()
        else:
            event.listen(database.engine, "connect", self._shadow_julianday)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        if self._in_database:
            with self._database.transaction() as session:
                session.execute(text("UPDATE test_clock.clock SET seconds = :seconds"), {"seconds": self.seconds})

    def _shadow_julianday(self, connection: object, record: object) -> None:
        connection.create_function("julianday", 1, lambda when: EPOCH_JULIAN_DAY + self.seconds / 86400.0)  # type: ignore[attr-defined]

    def _shadow_clock_timestamp(self) -> None:
        """A function of that name in a schema that is searched before pg_catalog."""
        name = self._database.engine.url.database
        script = f"""
            CREATE SCHEMA test_clock;
            CREATE TABLE test_clock.clock AS SELECT CAST({self.seconds} AS double precision) AS seconds;
            CREATE FUNCTION test_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql
                AS 'SELECT to_timestamp(seconds) FROM test_clock.clock';
            ALTER DATABASE "{name}" SET search_path = test_clock, pg_catalog, public
        """  # noqa: S608  (a number and the test's own database)
        with self._database.transaction() as session:
            for statement in script.split(";"):
                session.execute(text(statement))
        self._database.engine.dispose()  # a session takes the search path when it begins
