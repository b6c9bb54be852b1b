"""Where runs are indexed."""
