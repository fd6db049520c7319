"""The HTTP side: one folder for each resource."""
