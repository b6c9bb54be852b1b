"""SQL of the built-in stores: one object or query per file."""
