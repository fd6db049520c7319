"""What the service watches of itself and of its models: metrics, traffic, drift."""
