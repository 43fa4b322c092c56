# A place in a JSON document, and the reading of strings and numbers.

from pyserver.core.number cimport Number
from pyserver.core.sink cimport Sink
from pyserver.core.tensor cimport Kind


cdef struct Reader:
    const unsigned char *start
    const unsigned char *at
    const unsigned char *end
    Py_ssize_t base  # offset of `start` in the document
    int levels  # how many more may be nested
    int max_depth
    Py_ssize_t values  # how many more Python objects may be made
    Py_ssize_t max_bytes  # of one tensor


# The next character that isn't white space, where `at` then stands; -1 at the end.
cdef inline int peek(Reader *reader) noexcept nogil:
    cdef unsigned char found
    while reader.at < reader.end:
        found = reader.at[0]
        if found > 32 or found != c" " and found != c"\n" and found != c"\r" and found != c"\t":
            return found
        reader.at += 1
    return -1


# Raise the JsonError about what stands at `at`.
cdef int fail(Reader *reader, str kind, str reason, const unsigned char *at) except -1

# Raise the JsonError about the bracket at `at`.
cdef int too_deep(Reader *reader) except -1

# One level deeper; `at` stands at the bracket. The way out is `levels += 1`.
cdef inline int enter(Reader *reader) except -1:
    if reader.levels == 0:
        return too_deep(reader)
    reader.levels -= 1
    return 0


# Whether `size` bytes of `word` come next; `at` then stands behind them.
cdef bint skip_word(Reader *reader, const char *word, Py_ssize_t size) noexcept nogil

# The same for true, false, null and the words that stand for numbers, but -Infinity.
cdef bint skip_any_word(Reader *reader) noexcept nogil

cdef inline bint starts_number(int found) noexcept nogil:
    return found == c"-" or c"0" <= found <= c"9"

# Raise the JsonError about the element at `at`: another type than `kind` takes, or no JSON at all.
cdef int refuse(Reader *reader, Kind kind) except -1

# Read the number at `at`.
cdef int read_digits(Reader *reader, Number *number) except -1

# The double of a number that was read; JsonError if it is too big for one.
cdef double finite_double(Reader *reader, Number *number) except? -1

# Read the string at `at`, an opening quote.
cdef str read_text(Reader *reader)

# Read the string at `at`, an opening quote, and append its UTF-8.
cdef int copy_text(Reader *reader, Sink *sink) except -1
