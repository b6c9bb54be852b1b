"""The built-in components; they come in by the same door as anyone's."""
