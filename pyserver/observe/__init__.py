"""What can be seen of the server while it runs: its log, its traces, its latencies."""
