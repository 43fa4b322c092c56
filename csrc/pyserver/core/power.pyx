"""The powers of ten that `nearest` multiplies with: see D. Lemire, Number Parsing at a Gigabyte per Second (2021)."""


cdef int fill_table() except -1:
    for n in range(LOWEST, HIGHEST + 1):
        if n >= 0:
            power = 10**n
            binary = power.bit_length() - 1
            top = power << 127 - binary if binary <= 127 else (power >> binary - 127) + (n > LAST_EXACT)
        else:
            divisor = 10**-n
            binary = -divisor.bit_length()
            top = (1 << 127 - binary) // divisor + 1
        powers[n - LOWEST].high = top >> 64
        powers[n - LOWEST].low = top & 0xFFFFFFFFFFFFFFFF
        powers[n - LOWEST].binary = binary
    return 0


fill_table()
