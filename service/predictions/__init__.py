"""/api/v1/predict, outside FastAPI: on this path the framework would cost more than the network."""
