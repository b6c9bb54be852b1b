"""Contract suites and small feeds for plugin authors."""
