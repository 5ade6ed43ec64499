"""What tiers missed or have yet to write, and what processes tell each other of that."""
