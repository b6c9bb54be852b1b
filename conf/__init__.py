"""YAML options, one folder per group, one file each: they select and override; the dataclasses own the keys."""
