"""Envelopes that are tagged with a key, or encrypted, and the ring of keys."""
