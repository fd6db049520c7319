"""Moves studies on: starts their jobs, ends bad trials, sees when all is done."""
