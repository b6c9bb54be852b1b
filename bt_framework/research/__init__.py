"""From stored bars to pairs: the pipeline behind `bt validate`, the screen of pairs, and what both keep."""
