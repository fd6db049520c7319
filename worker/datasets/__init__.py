"""Built-in datasets: found, checked, and handed over as pixels 0-255."""
