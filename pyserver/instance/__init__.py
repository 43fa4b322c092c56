"""One stub process seen from the server: its memory, its payloads, its health, its restart."""
