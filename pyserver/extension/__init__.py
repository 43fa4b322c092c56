"""The protocol's extensions that need more than a model: clients' shared memory, classification."""
