"""The pages in docs/ are true: what they say is compared with the code, what they show is executed."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
from types import ModuleType

import pytest
from documentation import DOCS, FENCE, PAGES, commands, example_modules, fences

from bt_framework import hookspecs
from bt_framework.config.compose import compose
from bt_framework.registry import Kind
from bt_framework.results.metrics import RunMetrics
from bt_framework.results.record import RunRecord
from bt_framework.results.run import TABLES, Status

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_BUILD_ALL = """
import importlib, sys
from bt_framework.config.schema import ComponentConfig
from bt_framework.plugin_manager import run_manager

sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    classes = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == name]
    (config_class,) = [c for c in classes if issubclass(c, ComponentConfig)]
    assert config_class.__doc__ and config_class().name
    component = module.build(config_class())
    run_manager([component])
    references = [getattr(component, "kernel", None), *vars(getattr(component, "kernels", object)).values()]
    for reference in references:
        if isinstance(reference, str) and ":" in reference:
            kernels, _, function = reference.partition(":")
            assert callable(getattr(importlib.import_module(kernels), function))
"""
SECTIONS = ("Contract", "Smallest example", "How it is tested", "Built-ins")


@pytest.fixture(scope="module")
def update() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_update", DOCS / "update.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_generated_parts_say_what_the_code_says(update, page):
    text = page.read_text()
    assert update.rewritten(text) == text, "run: python docs/update.py"


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_every_kind_of_plugin_has_a_page_with_all_its_sections(kind):
    text = (DOCS / "plugins" / f"{kind}.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert [h for h in headings if h in SECTIONS] == list(SECTIONS)
    assert f"<!-- generated: components {kind} -->" in text
    assert "\n# " in text, "the smallest example is a Python block that starts with its file name"


def test_every_built_in_component_and_key_is_described(update):
    components = update.built_ins()
    assert {c.kind for c in components} == set(Kind)
    for component in components:
        page = (DOCS / "plugins" / f"{component.kind}.md").read_text()
        assert f"### `{component.name}`\n\n{component.doc}" in page
        assert component.doc.endswith("."), component
        for field in component.fields:
            assert field.doc, (component.name, field.name)
            assert f"| `{field.name}` |" in page


def test_every_hook_is_documented():
    text = (DOCS / "plugins/README.md").read_text()
    for specs in (hookspecs.RegistrationSpecs, hookspecs.LifecycleSpecs):
        hooks = [name for name in vars(specs) if not name.startswith("_")]
        assert hooks
        for name in hooks:
            assert inspect.getdoc(getattr(specs, name)), name
            assert f"`{name}(" in text


def test_every_key_of_a_run_and_every_metric_is_described():
    text = (DOCS / "results.md").read_text()
    keys = {f.name for f in dataclasses.fields(RunRecord)} - {"run_dir"}  # where the JSON lies
    for key in keys | set(RunMetrics(1.0, 1, ()).result()) | set(TABLES) | set(Status):
        assert f"`{key}`" in text or f"`{key}.parquet`" in text, key


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_links_lead_somewhere(page):
    for link in _LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
            anchors = [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]
            assert anchor in anchors, link


@pytest.mark.parametrize(
    ("page", "body"), [f for f in fences("python") if not re.match(r"# [\w/]+\.py\n", f[1])]
)
def test_snippets_run(page, body):
    exec(compile(body, page, "exec"), {})


def test_examples_of_all_kinds_register_and_build(tmp_path):
    modules = example_modules(tmp_path)
    assert len(modules) >= len(Kind)
    done = subprocess.run(
        [sys.executable, "-c", _BUILD_ALL, str(tmp_path), *modules],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", commands())
def test_commands_that_run_something_compose(command):
    words = shlex.split(command, comments=True)[1:]
    if "=" in words[0]:
        compose([word for word in words if word != "-m"])
