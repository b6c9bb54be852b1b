"""Built-in components of the kind `strategies`."""
