"""The compiled loop around hftbacktest: the only package that imports it."""
