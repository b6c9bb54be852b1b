"""YAML options: one folder per group, one file per option; they select and override, the dataclasses own the keys."""
