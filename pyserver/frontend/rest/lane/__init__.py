"""The fast lane: HTTP/1.1 connections that answer inferences themselves and hand all else to Tornado."""
