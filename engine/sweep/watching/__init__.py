"""What a running sweep tells: its status, its events, trackers."""
