"""gRPC's messages and the types, converted into each other."""
