# Runs of decimal numbers, as they are usually written, to floats.

from pyserver.core.tensor cimport Kind


# Read numbers with a comma, or a comma and a space, between them, to `out` as FP32 or FP64, `room` of them at most.
# Returns how many; `place` then is behind the last. It stops early before a number that isn't plain (more than 8 digits
# before the point, an exponent, other space ..., or no number at all), and near both ends of the text.
cdef Py_ssize_t read_run(
    const unsigned char **place, const unsigned char *start, const unsigned char *end, Kind kind, char *out,
    Py_ssize_t room,
) noexcept nogil
