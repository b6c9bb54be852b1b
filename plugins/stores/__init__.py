"""Built-in components of the kind `stores`."""
