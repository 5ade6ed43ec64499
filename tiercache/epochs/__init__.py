"""Tags and namespaces that were invalidated: marks in the tiers, and what this process knows of them."""
