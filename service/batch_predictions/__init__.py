"""Predictions for a whole dataset or archive, made by a worker."""
