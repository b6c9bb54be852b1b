"""Overrides and YAML options become validated, closed dataclasses."""

from __future__ import annotations

import dataclasses
import json
import threading
import traceback
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from bt_framework.config._secrets import (
    overrides_without_secrets,
    secrets_in,
    without_passwords,
    without_secrets,
)
from bt_framework.config._sources import LIST_GROUPS
from bt_framework.config.compose import Composition, compose, composition_of
from bt_framework.config.schema import ComponentConfig, Duration, field_infos, param
from bt_framework.config.settings import Settings
from bt_framework.errors import ConfigError
from bt_framework.plugin_manager import PluginHost, discover
from bt_framework.registry import Component, Kind

RUN = ["+strategy=ou_pairs"]


@pytest.fixture(scope="module")
def host() -> PluginHost:
    return discover()


def names(composition: Composition, kind: Kind) -> list[str]:
    return [choice.component.name for choice in composition.many(kind)]


def test_a_strategy_is_all_that_a_run_needs(host: PluginHost) -> None:
    composition = compose(RUN, host=host)
    assert {kind: names(composition, kind) for kind in Kind} == {
        Kind.DATA: ["synthetic_pair"],
        Kind.BARS: [],
        Kind.STRATEGY: ["ou_pairs"],
        Kind.LATENCY: ["same_region"],
        Kind.QUEUE: ["risk_averse"],
        Kind.EXCHANGE: ["no_partial_fill"],
        Kind.FEES: ["binance_usdm_vip0"],
        Kind.SLIPPAGE: ["none"],
        Kind.CONTRACT: ["from_data"],
        Kind.DEPTH: ["auto"],
        Kind.RISK: ["max_position", "max_order_notional"],
        Kind.SIZING: ["fixed_notional"],
        Kind.WRITER: ["parquet"],
        Kind.STORE: ["sqlite"],
        Kind.CONSOLE: ["rich"],
    }


def test_options_and_keys_are_chosen_by_overrides(host: PluginHost) -> None:
    composition = compose([*RUN, "latency=colo", "strategy.entry_z=2.5", "seed=7"], host=host)
    component, config = composition.one(Kind.LATENCY)
    assert (component.name, config.entry_ns) == ("colo", 250_000)
    assert composition.one(Kind.STRATEGY).config.entry_z == 2.5
    assert composition.settings.seed == 7


@pytest.mark.parametrize("chain", [["max_order_notional", "max_position"], ["max_position"], []])
def test_risk_rules_keep_the_order_in_which_they_are_written(host: PluginHost, chain: list[str]) -> None:
    composition = compose([*RUN, f"risk=[{','.join(chain)}]"], host=host)
    assert names(composition, Kind.RISK) == chain


def test_a_key_of_a_rule_does_not_change_the_order_of_the_chain(host: PluginHost) -> None:
    overrides = ["risk=[max_order_notional,max_position]", "risk.max_position.limit_notional=10"]
    composition = compose([*RUN, *overrides], host=host)
    assert names(composition, Kind.RISK) == ["max_order_notional", "max_position"]
    assert composition.many(Kind.RISK)[1].config.limit_notional == 10


def test_writers_store_and_console_can_be_left_out(host: PluginHost) -> None:
    composition = compose([*RUN, "writer=[]", "~store", "~console"], host=host)
    assert all(composition.many(kind) == () for kind in (Kind.WRITER, Kind.STORE, Kind.CONSOLE))


@pytest.mark.parametrize("text", ["250us", "250_000", "250000", "0.25ms"])
def test_a_duration_is_nanoseconds_however_it_is_written(host: PluginHost, text: str) -> None:
    composition = compose([*RUN, f"latency.entry_ns={text}"], host=host)
    assert composition.one(Kind.LATENCY).config.entry_ns == 250_000


def test_mappings_and_single_entries_of_them_can_be_given(host: PluginHost) -> None:
    overrides = ["data=npz", "data.files=[a.npz,b.npz]", "data.tick_size={A:0.1}", "data.tick_size.B=0.01"]
    config = compose(overrides, host=host).one(Kind.DATA).config
    assert config.tick_size == {"A": 0.1, "B": 0.01}
    assert config.files == ["a.npz", "b.npz"]


def test_interpolations_are_resolved(host: PluginHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK", "delta one")
    composition = compose([*RUN, "note='${oc.env:DESK} ${latency.name}'"], host=host)
    assert composition.settings.note == "delta one same_region"


@pytest.mark.parametrize("note", ["${oc.env:HOME}", "a \\${b} ${c}", "${", "\\"])
def test_a_mapping_is_taken_literally(host: PluginHost, note: str) -> None:
    config = compose([*RUN, "data=npz"], host=host).resolved | {"note": note}
    config["data"] = {**config["data"], "files": [note]}
    resolved = composition_of(config, host=host).resolved
    assert (resolved["note"], resolved["data"]["files"]) == (note, [note])


def test_the_same_run_written_in_two_ways_resolves_to_the_same(host: PluginHost) -> None:
    first = compose([*RUN, "latency=colo", "latency.entry_ns=2ms"], host=host)
    second = compose(["latency=colo", "latency.entry_ns=2_000_000", *RUN], host=host)
    assert first.resolved == second.resolved


def test_what_is_resolved_is_plain_and_composes_to_itself(host: PluginHost) -> None:
    resolved = compose([*RUN, "risk=[max_order_notional,max_position]", "latency=retail"], host=host).resolved
    again = composition_of(json.loads(json.dumps(resolved)), host=host)
    assert again.resolved == resolved
    assert list(again.resolved["risk"]) == ["max_order_notional", "max_position"]
    assert composition_of(yaml.safe_load(yaml.safe_dump(resolved)), host=host).resolved == resolved


def test_what_leaves_the_boundary_is_closed(host: PluginHost) -> None:
    composition = compose(RUN, host=host)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to 'entry_ns'"):
        composition.one(Kind.LATENCY).config.entry_ns = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        composition.settings.seed = 2


@pytest.mark.parametrize("name", [f.name[:-5] for f in files("bt_conf").joinpath("experiment").iterdir()])
def test_every_experiment_composes_without_more_words(host: PluginHost, name: str) -> None:
    composition = compose([f"experiment={name}"], host=host)
    assert composition.one(Kind.STRATEGY).component.name == "ou_pairs"
    assert composition.settings.note


def test_an_experiment_overrides_options_and_yields_to_the_command_line(host: PluginHost) -> None:
    composition = compose(["experiment=taker_retail", "strategy.entry_z=4"], host=host)
    assert names(composition, Kind.LATENCY) == ["retail"]
    config = composition.one(Kind.STRATEGY).config
    assert (config.execution.name, config.entry_z) == ("taker", 4.0)


def test_options_from_a_folder_of_the_user_are_found(host: PluginHost, tmp_path: Path) -> None:
    (tmp_path / "latency").mkdir()
    option = "defaults:\n  - /schema/latency/colo@_here_\n  - _self_\nentry_ns: 7us\n"
    (tmp_path / "latency" / "desk.yaml").write_text(option)
    composition = compose([*RUN, "latency=desk"], host=host, config_dirs=[str(tmp_path)])
    assert composition.one(Kind.LATENCY).config.entry_ns == 7_000
    composition = compose([*RUN, "latency=desk", f"hydra.searchpath=['file://{tmp_path}']"], host=host)
    assert composition.one(Kind.LATENCY).config.entry_ns == 7_000


def test_two_threads_compose_at_once(host: PluginHost) -> None:
    found: dict[int, int] = {}

    def work(seed: int) -> None:
        found[seed] = compose([*RUN, f"seed={seed}"], host=host).settings.seed

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {seed: seed for seed in range(4)}


def options() -> set[tuple[str, str]]:
    groups = [f for f in files("bt_conf").iterdir() if f.is_dir() and not f.name.startswith("_")]
    found = {(g.name, f.name.removesuffix(".yaml")) for g in groups for f in g.iterdir()}
    return {(group, name) for group, name in found if group not in ("experiment", "hydra")}


def test_every_option_is_a_component_and_every_built_in_component_an_option(host: PluginHost) -> None:
    built_in = [c for c in host.registry.components() if c.package == "bt-framework"]
    assert options() == {(str(c.kind), c.name) for c in built_in}


def rounds() -> list[dict[str, str]]:
    """Every option once: the first of each group together, then the second of each, and so on."""
    columns = {group: sorted(name for g, name in options() if g == group) for group, _ in sorted(options())}
    longest = max(len(names) for names in columns.values())
    return [{group: col[at] for group, col in columns.items() if at < len(col)} for at in range(longest)]


@pytest.mark.parametrize("chosen", rounds(), ids=lambda chosen: "-".join(chosen.values()))
def test_every_option_composes_to_the_defaults_of_its_dataclass(
    host: PluginHost, chosen: dict[str, str]
) -> None:
    values = {group: f"[{name}]" if group in LIST_GROUPS else name for group, name in chosen.items()}
    words = [f"{'+' if group == 'strategy' else ''}{group}={value}" for group, value in values.items()]
    composition = compose(words, host=host)
    for group, name in chosen.items():
        (choice,) = composition.many(Kind(group))
        assert choice.component.name == name
        defaults = vars(choice.component.config_class())
        interpolated = {key for key, value in defaults.items() if "${" in str(value)}
        closed = {key: value for key, value in vars(choice.config).items() if key != "_frozen"}
        assert closed == defaults | {key: closed[key] for key in interpolated}, (group, name)


def test_every_key_says_what_it_is(host: PluginHost) -> None:
    undocumented = [
        f"{c.kind}.{c.name}.{f.name}" for c in host.registry.components() for f in c.fields if not f.doc
    ]
    assert undocumented == []
    assert [c.name for c in host.registry.components() if not c.doc] == []
    assert [f.name for f in field_infos(Settings) if not f.doc] == []


@dataclasses.dataclass
class Server(ComponentConfig):
    """A store behind a password."""

    name: str = param("server", "registry name")
    url: str = param("postgresql://desk:hunter2@db:5432/bt", "where")
    password: str = param("", "password", secret=True)
    timeout_ns: Duration = param("2s", "patience", unit="ns")


def test_secrets_are_not_written_down() -> None:
    assert without_secrets(Server(password="hunter2")) == {
        "name": "server",
        "url": "postgresql://desk:***@db:5432/bt",
        "password": "***",
        "timeout_ns": 2_000_000_000,
    }
    assert without_secrets(Server())["password"] == ""


def test_secrets_are_not_shown_in_overrides() -> None:
    server = Component(Kind.STORE, "server", Server, lambda config: config, "bt-server", "1.0")
    given = ["store=server", "store.password=hunter2", "++store={password:hunter2}", "note=x://me:hunter2@y"]
    shown = ["store=server", "store.password=***", "++store=***", "note=x://me:***@y"]
    assert overrides_without_secrets(given, [server]) == shown


@pytest.mark.parametrize("password", ["hunter2", "hun@ter2", "hun/ter2", "9hun:ter2"])
def test_a_password_is_hidden_in_each_url_whatever_it_consists_of(password: str) -> None:
    text = f"x=a://me:{password}@db/one,b://db:9443/ws/two@trade,c://:{password}@db/x?password={password}&a=1"
    assert without_passwords(text) == (
        "x=a://me:***@db/one,b://db:9443/ws/two@trade,c://:***@db/x?password=***&a=1"
    )


def test_a_variable_in_the_place_of_a_password_is_no_secret() -> None:
    server = Component(Kind.STORE, "server", Server, lambda config: config, "bt-server", "1.0")
    named = ["store.url=x://me:${oc.env:PW}@y", "store.password=${oc.env:PW}"]
    told = [
        "store.url=x://me:${oc.env:PW}2@y",
        "store.password=a${oc.env:PW}",
        "++store={password:${oc.env:PW}}",
    ]
    assert list(secrets_in(named, [server])) == []
    assert len(list(secrets_in(told, [server]))) == len(told)


@pytest.mark.parametrize(
    "text",
    [
        "store.url=x://me:hunter2@y?a=b",
        "store.url=x://y?password=hunter2",
        "store.password=hunter2=",
        "bars.headers={A:hunter2",
    ],
)
def test_an_override_that_cannot_be_read_shows_no_secret(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the override") as caught:
        compose(["+strategy=market_maker", text])
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_times_without_a_zone_are_utc() -> None:
    settings = Settings(start="2024-08-09T12:00:00", end="2024-08-09T14:00:00.000001+01:00")
    assert settings.start_ts == 1_723_204_800_000_000_000
    assert settings.end_ts == settings.start_ts + 3_600_000_001_000
    assert (Settings().start_ts, Settings().end_ts) == (None, None)


def test_the_event_store_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BT_STORE_DIR", "/data/events")
    assert Settings().store_dir == "/data/events"
    assert Settings(store_dir="/mine").store_dir == "/mine"
    monkeypatch.delenv("BT_STORE_DIR")
    assert Path(Settings().store_dir).is_absolute()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"seed": -1}, "seed must be >= 0, was -1."),
        ({"capital": 0.0}, "capital must be > 0 and finite, was 0.0."),
        ({"slice_wakes": 0}, "slice_wakes must be > 0, was 0."),
        (
            {"start": "2024-01-02", "end": "2024-01-01"},
            "end must be later than start (2024-01-02), was 2024-01-01.",
        ),
    ],
)
def test_settings_have_ranges(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Settings(**keys)
    assert str(error.value) == message
