"""What the server's process and a model's process share: arenas, the channel, the messages on it.

Standard library only, and CPython 3.8 upwards: this package runs under whatever interpreter a model brings.
"""
