"""/v1 and /v2, outside FastAPI: the serving protocols of TensorFlow Serving and of the Open Inference Protocol."""
