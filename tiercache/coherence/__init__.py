"""What processes on one shared store tell each other at once: changes, tombstones, leases."""
