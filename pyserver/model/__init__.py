"""A model version that serves: its signature, scheduler, instances and statistics; and all of them by name."""
