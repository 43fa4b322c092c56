"""Words in shared memory that one side writes and the other reads without a message.

The first page of a response arena is its control page: its first 64-bit word is the number of the payload that the
stub is executing, or executed last, so that after the stub's death the server knows what had begun; its second counts
up several times a second while the model loads, as long as Python code can run in the stub. The first pages of a
request arena are the cancel table, a 32-bit word for each slot: 1 means that nobody waits for that request any more.
Slot 0 belongs to nobody and stays 0: it is given to requests when all others are taken.
Behind it lies the taken table, a 32-bit word for each slot: how many responses of that request's stream the server has
done with, by which the stub knows when to wait for a slow reader.

All are views whose items are read and written whole, by one machine instruction each.
"""

from __future__ import annotations

CONTROL_BYTES = 4096
CANCEL_SLOTS = 16 * 1024
CANCEL_BYTES = 4 * CANCEL_SLOTS
TABLES_BYTES = 2 * CANCEL_BYTES
"""What both tables take, at the start of a request arena."""

EXECUTING = 0
"""Index, in the control words, of the number of the payload begun last; 0 before the first."""
HEARTBEAT = 1
"""Index of the count that goes up while the model loads."""


def control_words(response_view: memoryview) -> memoryview:
    """Return the control page of a response arena as 64-bit words."""
    return response_view[:CONTROL_BYTES].cast("Q")


def cancel_words(request_view: memoryview) -> memoryview:
    """Return the cancel table of a request arena as 32-bit words, one for each slot."""
    return request_view[:CANCEL_BYTES].cast("I")


def taken_words(request_view: memoryview) -> memoryview:
    """Return the taken table of a request arena as 32-bit words, one for each slot."""
    return request_view[CANCEL_BYTES:TABLES_BYTES].cast("I")
