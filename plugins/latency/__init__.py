"""Built-in components of the kind `latency`."""
