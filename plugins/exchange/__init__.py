"""Built-in components of the kind `exchange`."""
