"""Models in other formats: made once, on a worker, and kept."""
