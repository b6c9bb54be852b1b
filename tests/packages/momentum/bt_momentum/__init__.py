"""Momentum on order books."""
