"""/api/v1/compare: any jobs side by side."""
