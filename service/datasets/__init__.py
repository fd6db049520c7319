"""Datasets over HTTP: upload, watch, look into, delete."""
