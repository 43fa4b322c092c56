"""What runs in a model's process, under the model's own interpreter: the standard library, numpy and `pyserver.ipc`.

The syntax and the library are those of CPython 3.8; numpy is 1.x or 2.x, whatever the environment has.
"""
