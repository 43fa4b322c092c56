"""Bytes <-> types: pure functions of the V2 protocol, without I/O and without a clock."""
