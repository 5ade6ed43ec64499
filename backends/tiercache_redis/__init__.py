"""Entries in Redis or Valkey: one string key an entry, expired by the server."""

from .backend import RedisBackend

__all__ = ["RedisBackend"]
