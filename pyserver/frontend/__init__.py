"""Sockets: the only rooms that import tornado, httptools and grpc."""
