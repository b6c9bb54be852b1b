"""A wrong composition is one clear message: what, where, was, and fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from bt_framework.config.compose import compose, composition_of
from bt_framework.errors import ConfigError
from bt_framework.plugin_manager import PluginHost, discover
from bt_framework.registry import Kind

RUN = "+strategy=ou_pairs"
RULES = (
    "cooldown, daily_loss, loss_streak, max_drawdown, max_gross_exposure, max_leverage, max_net_exposure, "
    "max_open_orders, max_open_positions, max_order_notional, max_order_qty, max_position, order_rate, "
    "price_collar, self_cross, trading_windows"
)
RULE_KEYS = (
    "The keys of risk.max_position (MaxPosition) are: "
    "action, resume_after_ns, time_zone, limit_notional, by_symbol."
)
LATENCY_KEYS = (
    "The keys of latency (SameRegion) are: entry_ns, response_ns, feed_offset_ns, feed_jitter_ns, feed_jitter_sigma, "
    "feed_jitter_step_ns, outages, outage_mode."
)
UNITS = "Write one of ns, us, ms, s, min, h, d, for example 250us."
DURATION = "a duration, whole nanoseconds or text with a unit such as 250us"
HYDRA_KEYS = (
    "hydra.job, hydra.launcher, hydra.mode, hydra.searchpath, hydra.sweep, hydra.sweeper, hydra.verbose, "
    "hydra/launcher, hydra/sweeper"
)


@pytest.fixture(scope="module")
def host() -> PluginHost:
    return discover()


def message_of(host: PluginHost, *overrides: str, config_dir: Path | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        compose(overrides, host=host, config_dirs=[str(config_dir)] if config_dir else [])
    assert error.value.exit_code == 2
    return str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        # options
        (
            ["latency=cola"],
            "latency must be one of colo, constant, feed_derived, historical, jitter, retail, same_region, zero, "
            "was 'cola'. Did you mean 'colo'?",
        ),
        (
            ["+strategy=ou_pair"],
            "strategy must be one of basis, bollinger_pairs, imbalance, johansen_basket, market_maker, ou_pairs, "
            "was 'ou_pair'. Did you mean 'ou_pairs'?",
        ),
        (
            ["strategy=ou_pairs"],
            "strategy=ou_pairs: no strategy is chosen yet, so it has to be added. Write +strategy=ou_pairs.",
        ),
        (["risk=[drawdown]"], f"risk must be one of {RULES}, was 'drawdown'. Did you mean 'max_drawdown'?"),
        (["store=null"], "store=null: leave the group out with ~store."),
        (["risk=null"], "risk=null: leave the group out with risk=[]."),
        (
            ["experiment=nope"],
            "experiment must be one of pairs_day, pairs_on_bars, taker_retail, was 'nope'.",
        ),
        (
            [RUN, "latency.name=retail"],
            "latency.name must be 'same_region', was 'retail'. "
            "To choose another latency write latency=retail.",
        ),
        (
            [RUN, "strategy.name=market_maker"],
            "strategy.name must be 'ou_pairs', was 'market_maker'. To choose another strategy write "
            "+strategy=market_maker.",
        ),
        (
            ["experiment=pairs_day", "+strategy=market_maker"],
            "+strategy=market_maker: an experiment has chosen a strategy already. "
            "To choose another, write strategy=market_maker.",
        ),
        (
            ["+latency=colo"],
            "+latency=colo: every composition has a latency, so nothing is added. Write latency=colo.",
        ),
        (
            ["latency=[colo,retail]"],
            "latency=[colo,retail]: latency takes one option. "
            "Write latency=NAME, or sweep with bt -m latency=A,B.",
        ),
        (
            ["risk=[max_position,max_position]"],
            "risk=[max_position,max_position]: an option can be chosen once only.",
        ),
        (
            ["latency="],
            "latency must be one of colo, constant, feed_derived, historical, jitter, retail, same_region, zero, "
            "was ''.",
        ),
        # keys
        (
            ["latency.entri_ns=3"],
            "unknown key latency.entri_ns (override latency.entri_ns=3). "
            f"Did you mean latency.entry_ns? {LATENCY_KEYS}",
        ),
        (["+latency.foo=3"], f"unknown key latency.foo (override latency.foo=3). {LATENCY_KEYS}"),
        (["latency={foo:1}"], f"unknown key latency.foo (override latency={{foo:1}}). {LATENCY_KEYS}"),
        (
            ["risk.max_position.limit_notionl=3"],
            "unknown key risk.max_position.limit_notionl (override risk.max_position.limit_notionl=3). "
            f"Did you mean risk.max_position.limit_notional? {RULE_KEYS}",
        ),
        # types
        (["seed=x"], "seed must be a whole number, was 'x' (override seed=x)."),
        (["seed="], "seed must be a whole number, was '' (override seed=)."),
        (["capital=[1]"], "capital must be a number, was [1] (override capital=[1])."),
        (["tags=a"], "tags must be a list such as [a,b], was 'a' (override tags=a)."),
        (
            [RUN, "strategy.entry_z=wide"],
            "strategy.entry_z must be a number, was 'wide' (override strategy.entry_z=wide).",
        ),
        (
            [RUN, "strategy.flat_at_end=perhaps"],
            "strategy.flat_at_end must be true or false, was 'perhaps' "
            "(override strategy.flat_at_end=perhaps).",
        ),
        (
            [RUN, "strategy.execution=pray"],
            "strategy.execution must be one of maker, taker, was 'pray' (override strategy.execution=pray).",
        ),
        (
            ["latency.entry_ns=1.5"],
            f"latency.entry_ns must be {DURATION}, was 1.5 (override latency.entry_ns=1.5).",
        ),
        (
            ["latency.entry_ns=true"],
            f"latency.entry_ns must be {DURATION}, was True (override latency.entry_ns=true).",
        ),
        (["latency.entry_ns.x=1"], f"latency.entry_ns must be {DURATION}, was {{}}."),
        (
            ["data=npz", "data.tick_size={A:x}"],
            "data.tick_size.A must be a number, was 'x' (override data.tick_size={A:x}).",
        ),
        # ranges
        (["latency.entry_ns=-5"], "latency.entry_ns must be >= 0, was -5 (override latency.entry_ns=-5)."),
        (
            ["latency.entry_ns=-5us"],
            "latency.entry_ns must be >= 0, was -5000 (override latency.entry_ns=-5us).",
        ),
        (
            ["latency.entry_ns='250'"],
            f"latency.entry_ns has no unit, was '250' (override latency.entry_ns='250'). {UNITS}",
        ),
        (
            ["latency.entry_ns=3fortnights"],
            "latency.entry_ns has the unknown unit 'fortnights', was '3fortnights' "
            f"(override latency.entry_ns=3fortnights). {UNITS}",
        ),
        (
            ["risk.max_position.limit_notional=-0.5"],
            "risk.max_position.limit_notional must be > 0 and finite, was -0.5 "
            "(override risk.max_position.limit_notional=-0.5).",
        ),
        (["capital=-1"], "capital must be > 0 and finite, was -1.0 (override capital=-1)."),
        (
            ["start=noon"],
            "start must be an ISO-8601 time, was 'noon' (override start=noon). "
            "Write for example 2024-08-09T12:00:00Z.",
        ),
        # what cannot be read
        (
            ["latency.entry_ns"],
            "cannot read the override 'latency.entry_ns': missing EQUAL at '<EOF>'. Write KEY=VALUE.",
        ),
        (["=3"], "cannot read the override '=3': it has no key. Write KEY=VALUE."),
        (
            ["seed=1,2"],
            "seed=1,2 gives several values. Sweep over them with bt -m; "
            "a list is written KEY=[A,B], a text KEY='A,B'.",
        ),
        (
            ["latency.entry_ns=${foo}"],
            "latency.entry_ns cannot be used: Interpolation key 'foo' not found "
            "(override latency.entry_ns=${foo}).",
        ),
        (
            ["note=${oc.env:NO_SUCH_VARIABLE}"],
            "note cannot be used: Environment variable 'NO_SUCH_VARIABLE' not found "
            "(override note=${oc.env:NO_SUCH_VARIABLE}).",
        ),
        # code
        (
            ["latency._target_=os.system"],
            "the override 'latency._target_=os.system' sets _target_: keys that start with an underscore are "
            "refused, because a configuration must not import code. Choose components by name, GROUP=NAME.",
        ),
        (["hydra.verbose=true"], "hydra.verbose=true: keys of Hydra are for the command line, bt -m."),
        (
            ["hydra.callbacks.x.y=1"],
            f"the override 'hydra.callbacks.x.y=1' is refused: of Hydra's own keys one may set {HYDRA_KEYS}.",
        ),
    ],
)
def test_bad_overrides_are_explained(host: PluginHost, overrides: list[str], message: str) -> None:
    assert message_of(host, *overrides) == message


def test_an_unknown_key_of_the_run_lists_the_keys_there_are(host: PluginHost) -> None:
    message = message_of(host, "latnecy=colo")
    assert message.startswith(
        "unknown key latnecy (override latnecy=colo). Did you mean latency? The keys of the run are: seed,"
    )
    assert message_of(host, "+nonsense=3").startswith(
        "unknown key nonsense (override nonsense=3). The keys of the run are:"
    )


def test_a_run_without_a_strategy_lists_the_strategies_with_what_they_do(host: PluginHost) -> None:
    with pytest.raises(ConfigError) as error:
        compose(["latency=colo"], host=host).one(Kind.STRATEGY)
    first, *lines = str(error.value).splitlines()
    assert first == "no strategy is chosen. Choose one with +strategy=NAME. The strategies there are:"
    strategies = [c for c in host.registry.components() if c.kind is Kind.STRATEGY]
    assert [line.split(maxsplit=1) for line in lines] == [[c.name, c.doc] for c in strategies]


def test_keys_of_a_strategy_that_was_not_chosen_ask_for_one(host: PluginHost) -> None:
    message = message_of(host, "strategy.entry_z=2")
    assert message.startswith(
        "strategy has keys but no name: no strategy is chosen. Choose one with +strategy=NAME."
    )


@pytest.mark.parametrize(
    "override",
    [
        "hydra.launcher._target_=os.system",
        "hydra.launcher={_target_:os.system}",
        "hydra.sweeper={params:{a:[{_target_:os.system}]}}",
        "+hydra/launcher/_target_=x",
        "latency={a:1},{_target_:os.system}",
        "note='x',{_partial_:true}",
        "++risk.max_position._target_=os.system",
        "hydra.job_logging.root=1",
        "hydra/job_logging=default",
        "hydra={callbacks:{}}",
        "hydra.output_subdir=x",
        "hydra.searchpath=[pkg://antigravity]",
        '++hydra.sweeper.x="${oc.create:{_target_: os.system}}"',
        '++hydra.launcher.x="${oc.decode:${oc.env:HOME}}"',
        '++hydra.launcher.x="${oc.${latency.name}:x}"',
        "hydra.launcher={x:['${oc.create:{a: 1}}']}",
        "note=x,'${oc.create:{a: 1}}'",
    ],
)
def test_no_override_makes_hydra_import_code(host: PluginHost, override: str) -> None:
    assert "refused" in message_of(host, override)


@pytest.mark.parametrize(
    "override",
    ["latency=../secret/colo", "risk=[max_position,../x]", "+experiment=a/../../x", "hydra/launcher=../x"],
)
def test_no_option_is_looked_for_outside_of_the_folders_of_options(host: PluginHost, override: str) -> None:
    assert "is refused: an option lies in the folders of options." in message_of(host, override)


def test_an_option_of_a_folder_cannot_make_keys_from_text(host: PluginHost, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - /strategy: ou_pairs\nhydra:\n  sweeper:\n"
        "    params: ${oc.create:{_target_:os.system}}\n"
    )
    assert "hydra.sweeper.params is refused" in message_of(host, "experiment=mine", config_dir=tmp_path)


@pytest.mark.parametrize("key", ["latency.entry_ns", "equity_interval_ns", "strategy.sample_ns"])
def test_durations_that_no_clock_can_hold_are_refused(host: PluginHost, key: str) -> None:
    message = message_of(host, RUN, f"{key}={2**60 + 1}")
    assert message == f"{key} must be at most 36 years, was {2**60 + 1} (override {key}={2**60 + 1})."


@pytest.mark.parametrize("key", ["seed", "slice_wakes"])
def test_numbers_that_no_column_can_hold_are_refused(host: PluginHost, key: str) -> None:
    message = message_of(host, RUN, f"{key}={2**63}")
    assert message == f"{key} must fit into 64 bits, was {2**63} (override {key}={2**63})."


def test_a_password_is_in_no_message(host: PluginHost) -> None:
    message = message_of(host, RUN, "seed=postgres://me:hunter2@host/db")
    assert "me:***@host" in message
    assert "hunter2" not in message


class TestOptionsOfTheUser:
    """The message names the file that a bad value came from."""

    def write(self, folder: Path, option: str, text: str) -> Path:
        file = folder / f"{option}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def test_a_value_out_of_range_names_the_file(self, host: PluginHost, tmp_path: Path) -> None:
        text = "defaults:\n  - /schema/latency/colo@_here_\n  - _self_\nentry_ns: -1\n"
        file = self.write(tmp_path, "latency/bad", text)
        message = message_of(host, RUN, "latency=bad", config_dir=tmp_path)
        assert message == f"latency.entry_ns must be >= 0, was -1 ({file})."

    def test_an_override_hides_the_value_of_the_file(self, host: PluginHost, tmp_path: Path) -> None:
        self.write(
            tmp_path, "latency/bad", "defaults:\n  - /schema/latency/colo@_here_\n  - _self_\nentry_ns: -1\n"
        )
        message = message_of(host, RUN, "latency=bad", "latency.entry_ns=-2", config_dir=tmp_path)
        assert message == "latency.entry_ns must be >= 0, was -2 (override latency.entry_ns=-2)."

    def test_an_experiment_is_named(self, host: PluginHost, tmp_path: Path) -> None:
        text = "# @package _global_\ndefaults:\n  - /strategy: ou_pairs\n  - _self_\nstrategy:\n  window: 3\n"
        file = self.write(tmp_path, "experiment/bad", text)
        message = message_of(host, "experiment=bad", config_dir=tmp_path)
        assert message == f"strategy.window must be >= 10 samples, was 3 ({file})."

    def test_a_built_in_file_is_named(self, host: PluginHost) -> None:
        message = message_of(host, "experiment=taker_retail", "strategy.stop_z=1")
        assert message.startswith("strategy: levels must be exit_z < entry_z < stop_z, were 0.5, 3.0, 1.0.")

    def test_a_wrong_type_names_the_file(self, host: PluginHost, tmp_path: Path) -> None:
        text = "defaults:\n  - /schema/latency/colo@_here_\n  - _self_\nentry_ns: [1]\n"
        self.write(tmp_path, "latency/bad", text)
        message = message_of(host, RUN, "latency=bad", config_dir=tmp_path)
        assert message.startswith("latency.entry_ns must be a duration, ")
        assert message.endswith("(latency/bad.yaml).")

    def test_an_unknown_key_names_the_file(self, host: PluginHost, tmp_path: Path) -> None:
        text = "defaults:\n  - /schema/latency/colo@_here_\n  - _self_\nentri_ns: 1\n"
        self.write(tmp_path, "latency/bad", text)
        message = message_of(host, RUN, "latency=bad", config_dir=tmp_path)
        assert message.startswith(
            "unknown key latency.entri_ns (latency/bad.yaml). Did you mean latency.entry_ns?"
        )

    def test_a_file_that_is_no_yaml_is_named_with_its_line(self, host: PluginHost, tmp_path: Path) -> None:
        file = self.write(tmp_path, "latency/bad", "name: colo\nentry_ns: [1\n")
        message = message_of(host, RUN, "latency=bad", config_dir=tmp_path)
        assert message.startswith(f"{file}, line 3 cannot be read: ")

    def test_a_schema_that_nobody_registers_is_named(self, host: PluginHost, tmp_path: Path) -> None:
        self.write(tmp_path, "latency/bad", "defaults:\n  - /schema/latency/warp@_here_\n")
        message = message_of(host, RUN, "latency=bad", config_dir=tmp_path)
        assert message.startswith("the YAML option latency/warp: its schema must be one of colo, constant, ")

    def test_a_plain_name_is_enough_but_must_exist(self, host: PluginHost, tmp_path: Path) -> None:
        self.write(tmp_path, "latency/bad", "name: warp\n")
        message = message_of(host, RUN, "latency=bad", config_dir=tmp_path)
        assert message.startswith("latency must be one of colo, constant, ")
        assert message.endswith(", zero, was 'warp'.")

    @pytest.mark.parametrize("key", ["_target_", "_partial_"])
    def test_a_file_that_would_import_code_is_refused(
        self, host: PluginHost, tmp_path: Path, key: str
    ) -> None:
        self.write(tmp_path, "latency/bad", f"name: colo\n{key}: os.system\n")
        message = message_of(host, RUN, "latency=bad", config_dir=tmp_path)
        assert message.startswith(f"latency.{key} is refused: keys that start with an underscore")

    @pytest.mark.parametrize(
        "text",
        [
            "hydra:\n  callbacks:\n    x: {a: 1}\n",
            "hydra:\n  launcher:\n    _target_: os.system\n",
            "hydra:\n  launcher:\n    _target_: ${note}\n",
            "hydra:\n  launcher:\n    _target_: hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher\n"
            "    setup: [touch here]\n",
            "hydra:\n  job_logging:\n    handlers: {x: {class: os.system}}\n",
            "hydra:\n  sweeper:\n    _target_: hydra.utils.call\n",
        ],
    )
    def test_an_experiment_cannot_reach_code_through_hydra(
        self, host: PluginHost, tmp_path: Path, text: str
    ) -> None:
        self.write(tmp_path, "experiment/bad", f"# @package _global_\n{text}")
        assert "import code" in message_of(host, RUN, "experiment=bad", config_dir=tmp_path)

    def test_a_folder_that_is_not_there_is_refused(self, host: PluginHost, tmp_path: Path) -> None:
        message = message_of(host, RUN, config_dir=tmp_path / "no")
        assert message == f"the folder of options {str(tmp_path / 'no')!r} does not exist."

    def test_a_file_with_the_name_of_a_built_in_option_is_refused(
        self, host: PluginHost, tmp_path: Path
    ) -> None:
        file = self.write(tmp_path, "latency/colo", "name: retail\n")
        message = message_of(host, RUN, config_dir=tmp_path)
        assert message == f"{file} has the name of a built-in option. Rename it."


@pytest.mark.parametrize(
    ("composition", "message"),
    [
        (
            {"latency": {"name": "warp"}},
            "latency must be one of colo, constant, feed_derived, historical, jitter, retail, same_region, zero, "
            "was 'warp'.",
        ),
        ({"latency": {"name": "colo", "entry_ns": "x"}}, "latency.entry_ns must be a duration, was 'x'"),
        (
            {"latency": "colo"},
            "latency must be one of colo, constant, feed_derived, historical, jitter, retail, same_region, zero, "
            "chosen with latency=NAME, was 'colo'.",
        ),
        ({"latency": {"name": "colo", "entry": 1}}, "unknown key latency.entry."),
        ({"latency": {"name": "colo", "entry_ns": [1]}}, "latency.entry_ns must be a duration, "),
        ({"sed": 1}, "unknown key sed. Did you mean seed?"),
        ({"seed": "x"}, "seed must be a whole number, was 'x'."),
        (
            {"risk": {"max_position": 5}},
            f"risk must be one of {RULES}, chosen with risk=[NAME], was 'max_position'.",
        ),
    ],
)
def test_a_composition_written_as_a_mapping_is_held_to_the_same(
    host: PluginHost, composition: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        composition_of(composition, host=host)
    assert str(error.value).startswith(message)
