"""Built-in components of the kind `consoles`."""
