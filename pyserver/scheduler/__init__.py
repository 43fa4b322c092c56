"""When and with whom a request runs: pure of I/O, time handed in, an `Executor` in place of a process."""
