"""SQL of stores and sources: one object or query per file."""
