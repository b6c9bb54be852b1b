"""Built-in components of the kind `data`."""
