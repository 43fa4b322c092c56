"""Models of MLServer in a stub: requests and responses as `mlserver.types`, batches, streams, the event loop."""
