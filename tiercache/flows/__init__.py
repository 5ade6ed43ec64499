"""The flows: what happens on a read, a write, a computation, a batch; each written once for both drivers."""
