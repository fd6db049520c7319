"""The training side: a Celery app that is woken, a supervisor, and one trainer process for each attempt."""
