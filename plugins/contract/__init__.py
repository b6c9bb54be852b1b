"""How contracts pay."""
