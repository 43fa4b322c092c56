"""How the C library's heap keeps the memory of large messages."""

cdef extern from *:
    """
    #include <stddef.h>
    #include <malloc.h>
    #ifdef __GLIBC__
    static int set_heap(int mapped_from, int kept) {
        return mallopt(M_MMAP_THRESHOLD, mapped_from) && mallopt(M_TRIM_THRESHOLD, kept);
    }
    #else
    static int set_heap(int mapped_from, int kept) { return 0; }
    #endif
    """
    int set_heap(int mapped_from, int kept)


def keep(int mapped_from, int kept):
    """Have `malloc` map only blocks of `mapped_from` bytes and more, and keep `kept` free bytes at a heap's end.

    Whether that could be had: only glibc's heap can be told, and of `mapped_from` it takes 32 MiB at most.
    """
    return bool(set_heap(mapped_from, kept))
