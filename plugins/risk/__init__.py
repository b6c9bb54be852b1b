"""Built-in components of the kind `risk`."""
