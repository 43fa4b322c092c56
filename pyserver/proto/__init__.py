"""The messages of proto/: `model_config`, `inference` and `health` give their classes, `pool` makes them.

Nothing is loaded before a first class is asked for.
"""
