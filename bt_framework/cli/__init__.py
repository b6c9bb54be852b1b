"""The `bt` command, one file per sub-command."""
