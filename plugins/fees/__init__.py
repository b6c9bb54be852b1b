"""Built-in components of the kind `fees`."""
