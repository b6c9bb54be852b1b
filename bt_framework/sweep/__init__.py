"""Sweeps: many runs from one plan, resumable, whoever launches them.

A sweep has a folder (`bt_framework.sweep.folder`) with its plan, which is written before the first job starts, and a
journal of what became of the jobs. Whatever happens to a process, what is in the folder says what is left to do, so
there is one way on: `bt_framework.sweep.driver` reads the journal and launches what is missing. A launcher of Hydra's
calls `bt_framework.sweep.work` in threads, processes or on other machines.
"""
