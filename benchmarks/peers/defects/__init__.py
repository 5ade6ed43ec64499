"""One file a group of defects; importing this makes their rows known."""

from . import concurrency, expiry, faults, invalidation, keys, stored, values  # noqa: F401
