"""ClickHouse, as a server or embedded as chDB: market data, bars and the rows of runs."""
