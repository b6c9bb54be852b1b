"""Built-in components of the kind `writers`."""
