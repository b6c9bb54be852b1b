"""Config-first backtesting on real order books, around hftbacktest."""

__version__ = "0.1.0"
