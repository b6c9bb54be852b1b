"""Hydra's side of sweeps: sweepers that make a plan, and the launcher that runs jobs in threads.

Hydra takes launchers and sweepers from the namespace ``hydra_plugins`` only, which is where this folder is installed.
"""
