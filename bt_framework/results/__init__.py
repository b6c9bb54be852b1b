"""What a run is and what it leaves: identity, tables, metrics."""
