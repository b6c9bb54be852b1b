"""YAML options."""
