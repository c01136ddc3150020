"""The walls of the house and what is shipped: imports, metadata, pins, make targets. No network."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import vae_jax

ROOT = Path(__file__).parents[1]
PACKAGES = ("bayes_jax", "vae_jax")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ("3.11", "3.12", "3.13")

CORE = [
    *("jax", "flax", "optax", "numpyro", "chex", "orbax-checkpoint", "blackjax", "jaxtyping"),
    *("tyro", "rich", "matplotlib", "scikit-learn", "pooch"),
]
EXTRAS = ["cuda12", "cuda13", "tpu", "arviz", "tensorboard", "bench", "test", "dev"]


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parse_modules(*folders: str, root: Path = ROOT) -> dict[str, ast.Module]:
    """Module name -> syntax tree, for every file of some folders."""
    paths = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    return {module_name(path, root): ast.parse(path.read_text()) for path in paths}


def imports(tree: ast.Module, modules: dict | None = None) -> Iterator[str]:
    """What a module imports, those inside functions included; submodules by their own names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import, line {node.lineno}: use the full name"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if modules and name in modules else node.module


def top(name: str) -> str:
    return name.split(".")[0]


def find_upward_imports(modules: dict, forbidden: set[str]) -> list[str]:
    return [
        f"{module} imports {name}"
        for module, tree in modules.items()
        for name in imports(tree)
        if top(name) in forbidden
    ]


def find_cycle(modules: dict) -> list[str]:
    """One import circle, or nothing."""
    graph = {
        module: {name for name in imports(tree, modules) if name in modules and name != module}
        for module, tree in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except ValueError as error:
        return error.args[1]
    return []


def find_undocumented(tree: ast.Module) -> Iterator[str]:
    """Public functions, classes and methods without a docstring, and the module itself."""
    if not ast.get_docstring(tree):
        yield "the module"
    pending = [("", node) for node in tree.body]
    while pending:
        prefix, node = pending.pop()
        is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if not is_definition or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            pending += [(f"{prefix}{node.name}.", child) for child in node.body]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("bayes_jax", "vae_jax scripts benchmarks tests flax orbax matplotlib tyro rich pooch"),
        ("vae_jax", "scripts benchmarks tests harness"),
        ("scripts", "benchmarks tests harness"),
        ("benchmarks", "scripts tests"),
    ],
)
def test_nothing_is_imported_upward(package, forbidden):
    modules = parse_modules(package)
    assert modules
    assert find_upward_imports(modules, {*forbidden.split()}) == []


def test_orbax_has_one_door():
    users = {
        module
        for module, tree in parse_modules(*PACKAGES, "scripts").items()
        if "orbax" in map(top, imports(tree))
    }
    assert users == {"vae_jax.state_files"}


def test_there_are_no_import_circles():
    modules = parse_modules(*PACKAGES)
    edges = sum(name in modules for tree in modules.values() for name in imports(tree, modules))
    assert edges > len(modules)  # or the search looked at nothing
    assert find_cycle(modules) == []


def test_the_search_for_circles_sees_them(tmp_path):
    files = {
        "a/__init__.py": "",
        "a/b.py": "from a import c",
        "a/c.py": "def late():\n    import a.d",
        "a/d.py": "from a.b import thing",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert {*find_cycle(parse_modules("a", root=tmp_path))} == {"a.b", "a.c", "a.d"}
    (tmp_path / "a/d.py").write_text("import math")
    assert find_cycle(parse_modules("a", root=tmp_path)) == []


def test_every_public_name_is_documented():
    modules = parse_modules(*PACKAGES, "scripts", "benchmarks")
    found = [
        f"{module}: {name}" for module in modules for name in find_undocumented(modules[module])
    ]
    assert found == []


def test_the_search_for_docstrings_sees_what_lacks_one():
    tree = ast.parse("class Seen:\n  def method(self): pass\n  def _own(self): pass\ndef f(): pass")
    assert {*find_undocumented(tree)} == {"the module", "Seen", "Seen.method", "f"}


def test_no_room_is_a_lumber_room():
    names = {path.name for path in ROOT.glob("*_jax/**/*.py")}
    assert not names & {"utils.py", "common.py", "helpers.py", "misc.py"}


def test_the_packages_say_that_they_are_typed():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").is_file()
        assert "py.typed" in pyproject["tool"]["setuptools"]["package-data"][package]


def test_every_folder_of_code_is_a_package():
    """A folder without __init__.py is left out of the wheel."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path.parent


def names_of(requirements: list[str]) -> list[str]:
    return [canonicalize_name(Requirement(line).name) for line in requirements]


def pins(python: str) -> dict[str, str]:
    """Package -> pinned version, as one Python sees constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    found = [line for line in found if not line.marker or line.marker.evaluate(environment)]
    names = [canonicalize_name(line.name) for line in found]
    assert len(names) == len({*names}), "a package is pinned twice"
    assert all(re.fullmatch(r"==[\w.]+", str(line.specifier)) for line in found)
    return {name: str(line.specifier)[2:] for name, line in zip(names, found, strict=True)}


def test_core_dependencies_and_extras_are_those_asked_for():
    assert names_of(PROJECT["dependencies"]) == CORE
    assert [*PROJECT["optional-dependencies"]] == EXTRAS
    assert PROJECT["name"] == "vae-bayes-jax"


@pytest.mark.parametrize("extra", ["cuda12", "cuda13", "tpu"])
def test_accelerators_are_extras_of_jax(extra):
    (line,) = PROJECT["optional-dependencies"][extra]
    assert (Requirement(line).name, Requirement(line).extras) == ("jax", {extra})


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_to_a_version_that_is_allowed(python):
    assert PROJECT["requires-python"] == ">=3.11"
    pinned = pins(python)
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [
        line for extra in ("arviz", "tensorboard", "bench", "test", "dev") for line in extras[extra]
    ]
    for line in map(Requirement, lines):
        name = canonicalize_name(line.name)
        if name != PROJECT["name"]:
            assert line.specifier.contains(pinned[name]), line


def test_the_two_stacks_are_two():
    older, newer, newest = map(pins, PYTHONS)
    assert older["jax"] == "0.10.2"
    assert newer["jax"] != older["jax"]
    assert newer == newest
    for pinned in (older, newer):
        assert pinned["jax"] == pinned["jaxlib"]


def test_nothing_names_a_registry():
    names = ("pyproject.toml", "constraints.txt", "Makefile", ".ci/run", ".pre-commit-config.yaml")
    for name in names:
        text = (ROOT / name).read_text()
        assert not re.search(r"https?://|index[-_]url|find[-_]links", text), name


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    changelog = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.M)
    assert headings[0] == "Unreleased"
    assert PROJECT["version"] == vae_jax.__version__ == citation["version"] == headings[1]


def test_the_citation_has_what_its_format_requires():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    for entry in (citation, *citation["references"]):
        assert entry["title"]
        assert all("name" in author or "family-names" in author for author in entry["authors"])


def test_hooks_fetch_nothing():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    assert all(hook["language"] == "system" for hook in hooks[0]["hooks"])


def make(*arguments: str) -> subprocess.CompletedProcess:
    # Under `make test` the variables of the outer make would reach the inner one.
    environment = {key: os.environ[key] for key in os.environ if "MAKE" not in key}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_make_install_is_done_when_it_is_done(tmp_path):
    planned = make("-n", "install", f"VENV={tmp_path}")
    assert "-m pip install" in planned.stdout
    assert f"\ntouch {tmp_path}/.installed\n" in planned.stdout
    (tmp_path / ".installed").touch()
    done = make("install", f"VENV={tmp_path}", "PYTHON=no-such-python")
    assert done.returncode == 0
    assert done.stdout == f"The project is installed: {tmp_path}/bin/python\n"


@pytest.mark.parametrize(
    "target",
    ["install", "test", "compare", "compare-all", "lint", "build", "test-slow", "test-long"],
)
def test_every_target_installs_first(target, tmp_path):
    planned = make("-n", target, f"VENV={tmp_path}")
    assert "-m pip install" in planned.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["install", "PYTHON=no-such-python"], "no Python runs as no-such-python: .* by PYTHON="),
        (["test-stacks", "PYTHON311=no-such"], "no Python runs as no-such: .* by PYTHON311="),
        (
            ["test-stacks", "PYTHON311=true", "PYTHON312=no-such"],
            "no Python runs as no-such: .* by PYTHON312=",
        ),
    ],
)
def test_a_missing_python_is_one_line(arguments, words, tmp_path):
    failed = make(*arguments, f"VENV={tmp_path / 'none'}")
    assert failed.returncode != 0
    errors = [line for line in failed.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(errors) == 1
    assert re.search(words, errors[0])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("version", ["(3, 10)", "(3, 14)"])
def test_a_python_that_is_too_old_or_too_new_is_one_line(version, tmp_path):
    """A stand-in that claims another version and runs the check of the Makefile."""
    python = tmp_path / "python"
    claim = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{claim}" "$2"\n')
    python.chmod(0o755)
    failed = make("install", f"PYTHON={python}", f"VENV={tmp_path / 'none'}")
    assert failed.returncode != 0
    assert "3.11 to 3.13 needed" in failed.stderr.splitlines()[0]
    assert not (tmp_path / "none").exists()
