"""Slippage models."""
