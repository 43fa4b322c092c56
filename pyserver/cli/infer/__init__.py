"""`pyserver infer`: the requests of a JSON lines file, asked of a server, with the answers in their order."""
