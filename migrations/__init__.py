"""The database schema and its history, for SQLite and PostgreSQL."""
