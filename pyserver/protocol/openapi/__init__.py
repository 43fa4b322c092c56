"""The data plane as OpenAPI 3 documents: of the server, and of each model with its own inputs, shapes and an example
request that the model takes.
"""
