"""What the runtimes have in common."""
