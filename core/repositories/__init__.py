"""All SQL, one module a table. Each function takes a session of `Database.transaction()` or `.snapshot()`."""
