# Runs of decimal numbers, as they are usually written, to floats.

from pyserver.core.tensor cimport Kind


# Read numbers with a comma, or a comma and a space, between them, to `out` (room for `room` of them) as FP32 or FP64.
# Returns how many; `place` moves behind the last of them. It stops early at any number that isn't plain: of more than 8
# digits before the point, with an exponent, wrong ...; and near the end of the text.
cdef Py_ssize_t read_run(
    const unsigned char **place, const unsigned char *start, const unsigned char *end, Kind kind, char *out, Py_ssize_t room
) noexcept nogil
