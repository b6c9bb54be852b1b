"""From YAML to validated dataclasses: the only package that sees a DictConfig."""
