"""Imports: from uploaded or built-in files to a checked, stored dataset."""
