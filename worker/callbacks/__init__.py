"""Keras callbacks: one duty, one file."""
