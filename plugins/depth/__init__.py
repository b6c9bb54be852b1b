"""Forms of order book."""
