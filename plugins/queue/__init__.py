"""Built-in components of the kind `queue`."""
