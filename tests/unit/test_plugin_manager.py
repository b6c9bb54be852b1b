"""Healthy packages become components; a broken one is a problem that names it, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bt_framework.config.compose import compose
from bt_framework.errors import ConfigError, PluginError
from bt_framework.hookspecs import LifecycleSpecs, RegistrationSpecs, hookimpl
from bt_framework.plugin_manager import KIND_OF_HOOK, Package, discover, run_manager
from bt_framework.registry import Component, Kind, Registry
from bt_plugins.latency.constant import Colo, build

HEADER = """
from dataclasses import dataclass
from bt_framework.config.schema import ComponentConfig, param
from bt_framework.hookspecs import hookimpl

@dataclass
class Warp(ComponentConfig):
    '''Faster than light.'''

    name: str = param("warp", "registry name")

"""
HEALTHY = (
    HEADER + "@hookimpl\ndef register_latency_models(register):\n    register(Warp, lambda config: None)\n"
)


@pytest.fixture
def installed(
    write_package: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Write a package and put it on ``sys.path``."""

    def install(source: str, **names: str) -> None:
        monkeypatch.syspath_prepend(write_package(source, **names))

    before = set(sys.modules)
    yield install
    for module in set(sys.modules) & {"stranger", "other"} - before:
        del sys.modules[module]


def problem_of_the_only_broken_package() -> str:
    host = discover()
    (problem,) = host.problems
    assert {c.package for c in host.registry.components()} == {"bt-framework"}
    assert "ou_pairs" in host.registry.names(Kind.STRATEGY)
    return str(problem.error)


def test_built_ins_come_in_by_the_entry_point() -> None:
    host = discover()
    assert host.problems == ()
    assert {c.package for c in host.registry.components()} >= {"bt-framework"}
    assert all(host.registry.names(kind) for kind in Kind)


def test_looking_for_plugins_imports_nothing_heavy() -> None:
    import subprocess

    code = "import sys; from bt_framework.plugin_manager import discover; discover(); print(*sys.modules)"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert loaded & {"numba", "hftbacktest", "pyarrow", "pandas", "rich", "hydra", "omegaconf"} == set()


def test_only_the_kinds_asked_for_are_loaded(installed: Callable[..., None]) -> None:
    installed(
        HEALTHY
        + "@hookimpl\ndef register_strategies(register):\n    raise ValueError('nobody asked for strategies')\n"
    )
    host = discover((Kind.LATENCY,))
    assert host.problems == ()
    assert {c.kind for c in host.registry.components()} == {Kind.LATENCY}
    assert {"warp", "colo"} <= set(host.registry.names(Kind.LATENCY))
    (problem,) = discover().problems
    assert "nobody asked for strategies" in str(problem.error)


def test_a_package_of_somebody_else_is_found(installed: Callable[..., None]) -> None:
    installed(HEALTHY)
    host = discover()
    assert host.problems == ()
    component = host.component(Kind.LATENCY, "warp")
    assert (component.package, component.version, component.doc) == ("stranger", "1.2", "Faster than light.")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import a_module_that_is_not_there\n",
            "cannot be imported: ModuleNotFoundError: No module named 'a_module_that_is_not_there'. "
            "Update or uninstall stranger.",
        ),
        (
            "raise SystemExit('no licence')\n",
            "cannot be imported: SystemExit: no licence. Update or uninstall stranger.",
        ),
        (
            HEADER + "@hookimpl\ndef register_latency_model(register):\n    pass\n",
            "has a misspelt hook: the hook must be one of "
            + ", ".join(sorted(n for n in vars(RegistrationSpecs) if not n.startswith("_")))
            + ", was 'register_latency_model'. Did you mean 'register_latency_models'?",
        ),
        (
            HEADER + "@hookimpl\ndef before_run(run):\n    pass\n",
            "has the life-cycle hook before_run in its module. Put it on the component that the run builds.",
        ),
        (
            HEADER + "@hookimpl\ndef register_latency_models(register, extra):\n    pass\n",
            "has a hook register_latency_models with other arguments than its specification: "
            "Argument(s) {'extra'} are declared in the hookimpl but can not be found in the hookspec.",
        ),
        ("x = 1\n", None),
        (
            HEADER + "@hookimpl\ndef register_latency_models(register):\n    register(dict, dict)\n",
            ": a latency is registered with <class 'dict'>, which is no subclass of ComponentConfig.",
        ),
        (
            HEADER
            + "class Fast(Warp):\n    name: str = 'fast'\n\n"
            + "@hookimpl\ndef register_latency_models(register):\n    register(Fast, print)\n",
            ": the latency config class Fast must be decorated with @dataclass.",
        ),
        (
            HEADER + "@hookimpl\ndef register_latency_models(register):\n    register(Warp, None)\n",
            ": the latency Warp is registered with None, which cannot be called.",
        ),
        (
            HEADER
            + "@dataclass\nclass Fast(ComponentConfig):\n    name: str = 'very fast'\n\n"
            + "@hookimpl\ndef register_latency_models(register):\n    register(Fast, print)\n",
            ": the latency config class Fast must have a default name of lower-case letters, digits and "
            "underscores, was 'very fast'.",
        ),
        (
            HEADER + "@hookimpl\ndef register_latency_models(register):\n    1 / 0\n",
            "failed while it registered its components: ZeroDivisionError: division by zero. "
            "Update or uninstall stranger.",
        ),
        (
            HEALTHY + "@hookimpl\ndef config_search_path():\n    return 'pkg://stranger.conf'\n",
            "names the options folder 'pkg://stranger.conf', which does not exist. config_search_path must "
            "return pkg://PACKAGE.FOLDER or file:///FOLDER, and the folder must be installed with "
            "the package.",
        ),
    ],
)
def test_a_broken_package_is_one_problem_that_names_it(
    installed: Callable[..., None], source: str, message: str | None
) -> None:
    installed(source)
    problem = problem_of_the_only_broken_package()
    prefix, _, rest = problem.partition("(entry point main = stranger)")
    assert prefix == "stranger 1.2 "
    assert (
        rest.strip() == message
        if message
        else rest.startswith(" implements no hook. Mark its functions with")
    )


def test_a_run_that_does_not_need_the_broken_package_composes(installed: Callable[..., None]) -> None:
    installed("import a_module_that_is_not_there\n")
    composition = compose(["+strategy=ou_pairs"])
    assert len(composition.host.problems) == 1


def test_a_run_that_may_need_it_is_told_so(installed: Callable[..., None]) -> None:
    installed("import a_module_that_is_not_there\n")
    with pytest.raises(PluginError) as error:
        compose(["+strategy=secret_sauce"])
    first, second, third = str(error.value).splitlines()
    built_in = "basis, bollinger_pairs, imbalance, johansen_basket, market_maker, ou_pairs"
    assert first == f"strategy must be one of {built_in}, was 'secret_sauce'."
    assert second == "A package that could not be loaded may offer it:"
    assert third.startswith("  stranger 1.2 (entry point main = stranger) cannot be imported:")


DUPLICATE = HEADER.replace("warp", "colo") + HEALTHY[len(HEADER) :]


def test_a_name_that_two_packages_claim_names_both(installed: Callable[..., None]) -> None:
    installed(DUPLICATE)
    assert problem_of_the_only_broken_package() == (
        "latency 'colo' is registered twice, by bt-framework 0.1.0 and stranger 1.2. "
        "Uninstall one of them or rename it."
    )


def test_only_a_run_that_uses_the_contested_name_is_refused(installed: Callable[..., None]) -> None:
    installed(DUPLICATE)
    compose(["+strategy=ou_pairs", "latency=retail"])
    with pytest.raises(PluginError, match="latency 'colo' is registered twice"):
        compose(["+strategy=ou_pairs", "latency=colo"])


def test_a_component_without_an_option_says_what_is_missing(installed: Callable[..., None]) -> None:
    installed(HEALTHY)
    with pytest.raises(ConfigError) as error:
        compose(["+strategy=ou_pairs", "latency=warp"])
    assert str(error.value) == (
        "stranger 1.2 registers the latency 'warp' but has no option latency/warp.yaml on the search path. "
        "It should return its folder of options from config_search_path."
    )


def test_a_key_of_a_type_that_cannot_be_configured_stops_only_the_runs_that_choose_it(
    installed: Callable[..., None], tmp_path: Path
) -> None:
    (tmp_path / "conf/latency").mkdir(parents=True)
    (tmp_path / "conf/latency/folded.yaml").write_text("defaults:\n  - /schema/latency/folded@_here_\n")
    keys = "    drive: complex = 1j\n    name: str"
    installed(HEALTHY.replace('"warp"', '"folded"').replace("    name: str", keys))
    folders = [str(tmp_path / "conf")]
    compose(["+strategy=ou_pairs"], config_dirs=folders)
    with pytest.raises(PluginError) as error:
        compose(["+strategy=ou_pairs", "latency=folded"], config_dirs=folders)
    assert str(error.value) == (
        "stranger 1.2: the latency 'folded' has a key that cannot be configured: "
        "Unexpected type annotation: complex. "
        "Use int, float, bool, str, an enum, lists and dicts of these, or None."
    )


def test_every_kind_has_a_hook_and_every_registration_hook_a_kind() -> None:
    hooks = {name for name in vars(RegistrationSpecs) if not name.startswith("_")}
    assert set(KIND_OF_HOOK) == hooks - {"config_search_path"}
    assert sorted(KIND_OF_HOOK.values()) == sorted(Kind)


def test_every_hook_is_documented() -> None:
    for specs in (RegistrationSpecs, LifecycleSpecs):
        for name, hook in vars(specs).items():
            assert name.startswith("_") or hook.__doc__


class Listener:
    """Writes down that it was called."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name = name
        self.calls = calls

    @property
    def fragile(self) -> str:
        """A property that must not be evaluated by looking for hooks."""
        raise AssertionError("evaluated")

    @hookimpl
    def before_run(self, run: object) -> None:
        self.calls.append(self.name)

    def after_run(self, run: object, summary: object) -> None:
        self.calls.append("not marked, so never called")


def test_a_runs_components_are_called_in_the_order_given() -> None:
    calls: list[str] = []
    manager = run_manager([Listener(name, calls) for name in "abc"])
    manager.hook.before_run(run=None)
    manager.hook.after_run(run=None, summary=None)
    assert calls == ["a", "b", "c"]


def test_a_component_may_be_any_object() -> None:
    assert run_manager([object(), 5, {}]).hook.before_run(run=None) == []


def test_a_misspelt_life_cycle_hook_names_the_component() -> None:
    class Writer:
        @hookimpl
        def on_slices(self, run: object) -> None: ...

    with pytest.raises(PluginError) as error:
        run_manager([Writer()])
    assert str(error.value).endswith(
        "Writer has a misspelt hook: the hook must be one of after_run, before_run, on_run_error, on_slice, "
        "was 'on_slices'. Did you mean 'on_slice'?"
    )


def test_a_component_whose_class_says_another_name_is_refused() -> None:
    with pytest.raises(PluginError, match=r"whose default name is 'colo'\. Make them equal\."):
        Registry().add(Component(Kind.LATENCY, "near", Colo, build, "p", "1"))


def test_a_package_is_printed_as_name_and_version() -> None:
    assert str(Package("stranger", "1.2")) == "stranger 1.2"
