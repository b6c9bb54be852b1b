"""The ClickHouse server of the tests behaves as ClickHouse does, through the real client."""

from __future__ import annotations

import clickhouse_connect


def test_a_database_of_the_test_is_there(clickhouse_url: str) -> None:
    with clickhouse_connect.get_client(dsn=clickhouse_url) as client:
        assert client.command("SELECT currentDatabase()") == clickhouse_url.rsplit("/")[-1]
