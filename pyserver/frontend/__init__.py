"""Sockets: what clients, orchestrators and Prometheus talk to."""
