"""Installed packages become a registry of components; a run's components become listeners.

Packages are found by the entry point group ``bt_framework``, the built-ins among them. A package that cannot
be loaded is a `Problem` of the `PluginHost` and contributes nothing; the others go on working.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from types import ModuleType
from typing import Any

import pluggy

from bt_framework.config.schema import ComponentConfig
from bt_framework.errors import ConfigError, PluginError
from bt_framework.hookspecs import PROJECT, LifecycleSpecs, RegistrationSpecs
from bt_framework.registry import Component, Kind, Registry, unknown_name

ENTRY_POINT_GROUP = "bt_framework"

KIND_OF_HOOK: Mapping[str, Kind] = {
    "register_data": Kind.DATA,
    "register_bar_sources": Kind.BARS,
    "register_strategies": Kind.STRATEGY,
    "register_latency_models": Kind.LATENCY,
    "register_queue_models": Kind.QUEUE,
    "register_exchange_models": Kind.EXCHANGE,
    "register_fee_models": Kind.FEES,
    "register_slippage_models": Kind.SLIPPAGE,
    "register_contract_models": Kind.CONTRACT,
    "register_depth_models": Kind.DEPTH,
    "register_risk_rules": Kind.RISK,
    "register_sizings": Kind.SIZING,
    "register_writers": Kind.WRITER,
    "register_stores": Kind.STORE,
    "register_consoles": Kind.CONSOLE,
}

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Package:
    """An installed distribution that offers components."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class Problem:
    """What is wrong with a package. ``contested`` is the component that two packages claim, if that is it."""

    package: Package
    error: PluginError
    contested: tuple[Kind, str] | None = None


@dataclass(frozen=True)
class SearchPath:
    """A folder of YAML options, as ``pkg://module`` or ``file://folder``, and whose it is."""

    package: Package
    path: str


class PluginHost:
    """What the installed packages offer, and what is wrong with them.

    Attributes
    ----------
    registry : Registry
        All components of healthy packages. Ask `component`, which also knows the problems.
    problems : tuple of Problem
        Broken packages, and names that two packages claim.
    search_paths : tuple of SearchPath
        Folders of YAML options.
    """

    def __init__(
        self, registry: Registry, problems: Iterable[Problem] = (), search_paths: Iterable[SearchPath] = ()
    ) -> None:
        self.registry = registry
        self.problems = tuple(problems)
        self.search_paths = tuple(search_paths)

    def component(self, kind: Kind, name: str) -> Component:
        """Return the component called `name`.

        Raises
        ------
        PluginError
            If two packages claim the name, or no package offers it while one could not be loaded.
        ConfigError
            If there is none; the message lists what there is.
        """
        for problem in self.problems:
            if problem.contested == (kind, name):
                raise problem.error
        if name in self.registry.names(kind):
            return self.registry.get(kind, name)
        raise self.unknown(str(kind), name, self.registry.names(kind))

    def unknown(self, what: str, name: str, options: Iterable[str]) -> ConfigError | PluginError:
        """Return the error for a `name` that nobody offers; a broken package may be why."""
        text = unknown_name(what, name, options)
        broken = [p for p in self.problems if p.contested is None]
        if not broken:
            return ConfigError(text)
        return PluginError(
            "\n".join([text, "A package that could not be loaded may offer it:", *map(_line, broken)])
        )


def _line(problem: Problem) -> str:
    return f"  {problem.error}"


def discover(kinds: Collection[Kind] = tuple(Kind)) -> PluginHost:
    """Load every installed package and collect its components of `kinds`, its search paths and its problems."""
    registry = Registry()
    problems: list[Problem] = []
    search_paths: list[SearchPath] = []
    for package, entry_point in _entry_points():
        try:
            offer = _load(package, entry_point, kinds)
        except PluginError as error:
            problems.append(Problem(package, error))
            continue
        search_paths += offer.search_paths
        for component in offer.components:
            try:
                registry.add(component)
            except PluginError as error:
                problems.append(Problem(package, error, (component.kind, component.name)))
    return PluginHost(registry, problems, search_paths)


def _entry_points() -> list[tuple[Package, metadata.EntryPoint]]:
    """Entry points with their packages: ours first, then by name: listings and messages are stable."""
    found = []
    for entry_point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        dist = entry_point.dist
        name = (dist.metadata["Name"] if dist else None) or entry_point.name
        found.append((Package(name, dist.version if dist else "unknown"), entry_point))
    return sorted(found, key=lambda f: (f[0].name != "bt-framework", f[0].name, f[1].name))


@dataclass
class _Offer:
    components: list[Component] = dataclasses.field(default_factory=list)
    search_paths: list[SearchPath] = dataclasses.field(default_factory=list)


def _load(package: Package, entry_point: metadata.EntryPoint, kinds: Collection[Kind]) -> _Offer:
    """Load one package; any fault of it is a PluginError that names it."""
    where = f"{package} (entry point {entry_point.name} = {entry_point.value})"
    try:
        module = entry_point.load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{where} cannot be imported: {_brief(error)}. Update or uninstall {package.name}."
        ) from error
    hooks = _checked_hooks(module, where)
    offer = _Offer()
    try:
        for hook_name, kind in KIND_OF_HOOK.items():
            if kind in kinds:
                getattr(hooks, hook_name)(register=_registrar(package, kind, offer))
        paths = hooks.config_search_path()
    except PluginError as error:
        raise PluginError(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{where} failed while it registered its components: {_brief(error)}. "
            f"Update or uninstall {package.name}."
        ) from error
    offer.search_paths += [SearchPath(package, _checked_path(path, where)) for path in paths]
    return offer


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().rstrip(".")


def _checked_hooks(module: ModuleType, where: str) -> Any:
    """Return the hook caller of `module` alone.

    A manager of its own, so that one package's misspelt hook does not break the others.
    """
    manager = _new_manager(RegistrationSpecs)
    try:
        manager.register(module)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{where} {_hook_fault(error, RegistrationSpecs)}") from error
    if not manager.get_hookcallers(module):
        raise PluginError(
            f"{where} implements no hook. Mark its functions with bt_framework.hookspecs.hookimpl; "
            f"the hooks are {', '.join(_hook_names(RegistrationSpecs))}."
        )
    return manager.hook


def _hook_names(specs: type) -> list[str]:
    return sorted(name for name in vars(specs) if not name.startswith("_"))


def _hook_fault(error: pluggy.PluginValidationError, specs: type) -> str:
    """Say what pluggy found, in one line: an unknown hook or a wrong argument."""
    text = str(error)
    unknown = re.search(r"unknown hook '(\w+)'", text)
    if unknown:
        name = unknown.group(1)
        if name in _hook_names(LifecycleSpecs):
            return (
                f"has the life-cycle hook {name} in its module. Put it on the component that the run builds."
            )
        return f"has a misspelt hook: {unknown_name('the hook', name, _hook_names(specs))}"
    wrong = re.search(r"hook '(\w+)'.*?(Argument\(s\).*?)$", text, re.S)
    if wrong:
        return f"has a hook {wrong[1]} with other arguments than its specification: {wrong[2].strip()}."
    return f"has an invalid hook: {text}"


def _registrar(
    package: Package, kind: Kind, offer: _Offer
) -> Callable[[type[ComponentConfig], Callable[..., Any]], None]:
    """Return the ``register`` function that a package's hook is called with."""

    def register(config_class: type[ComponentConfig], build: Callable[[Any], Any]) -> None:
        name = _checked_name(kind, config_class, build)
        offer.components.append(Component(kind, name, config_class, build, package.name, package.version))

    return register


def _checked_name(kind: Kind, config_class: object, build: object) -> str:
    """Return the registry name that `config_class` declares, after checking what can be checked."""
    if not (isinstance(config_class, type) and issubclass(config_class, ComponentConfig)):
        raise PluginError(
            f"a {kind} is registered with {config_class!r}, which is no subclass of ComponentConfig."
        )
    if "__dataclass_fields__" not in vars(config_class):
        raise PluginError(
            f"the {kind} config class {config_class.__name__} must be decorated with @dataclass."
        )
    if not callable(build):
        raise PluginError(
            f"the {kind} {config_class.__name__} is registered with {build!r}, which cannot be called."
        )
    (name,) = (f.default for f in dataclasses.fields(config_class) if f.name == "name")
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise PluginError(
            f"the {kind} config class {config_class.__name__} must have a default name of lower-case "
            f"letters, digits and underscores, was {name!r}."
        )
    return name


def _checked_path(path: object, where: str) -> str:
    """Return `path` if it is a folder of options that exists; Hydra would only warn."""
    from importlib.resources import files
    from pathlib import Path

    scheme, separator, rest = str(path).partition("://")
    try:
        there = bool(separator) and (
            files(rest).is_dir() if scheme == "pkg" else scheme == "file" and Path(rest).is_dir()
        )
    except ImportError:
        there = False
    if not there:
        raise PluginError(
            f"{where} names the options folder {path!r}, which does not exist. config_search_path "
            "must return pkg://PACKAGE.FOLDER or file:///FOLDER, and the folder must be installed with "
            "the package."
        )
    return str(path)


def run_manager(components: Iterable[object]) -> pluggy.PluginManager:
    """Return the plugin manager of one run, which calls `components` in the order given.

    Only functions marked with `hookimpl` are called, so a component may be any object.

    Raises
    ------
    PluginError
        If a component marks a function that is no life-cycle hook, or one with other arguments.
    """
    manager = _new_manager(LifecycleSpecs)
    # pluggy calls the last one registered first.
    for index, component in reversed(list(enumerate(components))):
        where = f"the component {type(component).__module__}.{type(component).__qualname__}"
        try:
            manager.register(component, name=f"{index}:{type(component).__qualname__}")
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(f"{where} {_hook_fault(error, LifecycleSpecs)}") from error
    return manager


class _Manager(pluggy.PluginManager):
    """Looks at the attributes of a class once, not at those of each of its instances: most of what a run's costs."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """Return how `plugin` marks its attribute `name`; None if it does not."""
        cls: Any = type(plugin)
        marks = _marks(cls)
        if name not in marks or name in getattr(plugin, "__dict__", ()):
            return super().parse_hookimpl_opts(plugin, name)
        mark = marks[name]
        return None if mark is None else dict(mark)

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        """Return how a class of specifications marks its attribute `name`; None if it does not."""
        return _spec_mark(module_or_class, name)


@lru_cache(maxsize=1024)
def _marks(cls: type) -> Mapping[str, Any]:
    """How a class marks its attributes; None for those that are no hooks."""
    read = pluggy.PluginManager(PROJECT).parse_hookimpl_opts
    return {name: read(cls, name) for name in dir(cls)}


@lru_cache(maxsize=1024)
def _spec_mark(specs: type, name: str) -> Any:
    return pluggy.PluginManager(PROJECT).parse_hookspec_opts(specs, name)


def _new_manager(specs: type) -> pluggy.PluginManager:
    manager = _Manager(PROJECT)
    manager.add_hookspecs(specs)
    return manager
