"""Built-in components of the kind `sizing`."""
