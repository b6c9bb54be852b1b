"""Bars: their store, corporate actions, preprocessing, exchange calendars, and the contract of their sources."""
