"""One computation a key: flights, the operations that carry them out, and who waits for whom."""
