"""Architectures over HTTP: options, layers, counts; all computed from the recipes."""
