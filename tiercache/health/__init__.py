"""Whether a tier is asked: breakers, their probes, retries, and what bounds stores that keep no deadlines."""
