"""The V2 protocol over HTTP/1.1, on Tornado."""
