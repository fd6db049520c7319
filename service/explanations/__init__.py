"""What in an image speaks for a label: heat maps."""
