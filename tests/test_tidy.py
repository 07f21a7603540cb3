"""Keeps the house: what the linter and the type checker cannot see.

Each test gathers every breach as `file:line what`, so that one run shows the whole work to do.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Each package may import itself and those before it.
LAYERS = ("protocol", "ledger", "node")

# The files that touch the world. Every other file of the three packages is pure: it has no clock, no chance, no socket,
# no disk and no task of its own. So a new file is pure until someone writes here that it is not.
SHELLS = (
    "ledger/store/*.py",
    "node/api/certificate_routes.py",
    "node/api/finding_routes.py",
    "node/api/ledger_routes.py",
    "node/api/peer_routes.py",
    "node/running/answering.py",
    "node/api/routes.py",
    "node/api/server.py",
    "node/api/streams.py",
    "node/home/approvals.py",
    "node/home/archives.py",
    "node/cli.py",
    "node/client.py",
    "node/commands/*.py",
    "node/home/home.py",
    "node/home/invitations.py",
    "node/home/identity.py",
    "node/home/lasting.py",
    "node/daemon.py",
    "node/data/certificate.py",
    "node/data/client.py",
    "node/data/door.py",
    "node/data/roads.py",
    "node/data/server.py",
    "node/data/stream_server.py",
    "node/demo/*.py",
    "node/devnet/*.py",
    "node/running/doctor.py",
    "node/running/eventlog.py",
    "node/running/guarding.py",
    "node/running/inbox.py",
    "node/energy/hardware/nvml.py",
    "node/energy/hardware/rapl.py",
    "node/energy/hardware/watch.py",
    "node/energy/keys.py",
    "node/energy/meter_server.py",
    "node/energy/sources/*.py",
    "node/energy/web.py",
    "node/link/*.py",
    "node/link/*/*.py",
    "node/listening.py",
    "node/running/meter.py",
    "node/running/network.py",
    "node/home/offline.py",
    "node/running/runtime.py",
    "node/home/secret.py",
    "node/running/tasks.py",
    "node/running/trainer.py",
    "node/training/*.py",
    "node/running/verifying.py",
)
IMPURE = frozenset(
    {
        *("aiohttp", "asyncio", "concurrent", "fcntl", "http", "httpx", "libp2p", "logging", "multiprocessing", "os"),
        *("psycopg", "random", "secrets", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "tempfile"),
        *("threading", "time", "torch", "trio", "urllib", "uuid"),
    }
)
CLOCK_OR_CHANCE = re.compile(r"(^|\.)(date|datetime)\.(now|today|utcnow)$|^(np|numpy)\.random\.")

# Modules that only some files may import, whether pure or not.
CONFINED = {
    "libp2p": ("node/link/*.py", "node/link/*/*.py"),
    "trio": ("node/link/*.py", "node/link/*/*.py"),
    "torch": ("node/training/*.py",),
    "psycopg": ("ledger/store/postgres.py",),
    "highspy": ("node/matching/proof/master.py",),
}

# Reading any of these executes what a stranger wrote. torch.load and torch.save are pickle by another name.
EXECUTING_MODULES = frozenset({"cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "shelve"})
EXECUTING_CALLS = frozenset({"__import__", "eval", "exec", "torch.load", "torch.save"})

LINES_MAX = 400
LONGER_FILES: frozenset[str] = frozenset()

BLOB_BYTES_MAX = 1_500_000

TOP_LEVEL = frozenset(
    {
        ".ci",
        ".gitignore",
        "LICENSE",
        "Makefile",
        "README.md",
        "deploy",
        "ledger",
        "node",
        "protocol",
        "pyproject.toml",
        "tests",
    }
)
MACHINE_PATH = re.compile(r"(?<![\w.-])/(home/\w|root\b|work/|tmp/lab)")
REGISTRY_HOST = re.compile(
    r"\b(pypi\.org|pythonhosted\.org|pytorch\.org|npmjs\.org|debian\.org|ubuntu\.com|anaconda\.org|proxy\.golang\.org"
    r"|crates\.io|ghcr\.io|docker\.io)\b"
)

# Together they cost two seconds of CPU; `heliotrope --help` has a quarter of one.
HEAVY = frozenset({"aiohttp", "highspy", "httpx", "libp2p", "matplotlib", "numpy", "pydantic", "torch", "trio"})


def python_files(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), parse(path)


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and top-level module of every absolute import, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]


def imports_for_types_only(tree: ast.AST) -> set[tuple[int, str]]:
    """Those under `if TYPE_CHECKING`: they never run, so a pure file may name a type of an impure module."""
    return {
        found
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for found in imports(statement)
    }


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def is_in(path: str, *patterns: str) -> bool:
    return any(Path(path).match(pattern) for pattern in patterns)


def repository_files() -> list[str]:
    """What git tracks, or would after `git add`."""
    # Continuous integration may run as another user than the one who cloned, which git refuses unless told.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [name for name in listing.split("\0") if (ROOT / name).is_file()]


def expect_none(breaches: Iterable[str], remedy: str = "") -> None:
    if found := sorted(breaches):
        pytest.fail("\n".join([*found, remedy]), pytrace=False)


def test_imports_point_from_node_to_ledger_to_protocol() -> None:
    breaches = [
        f"{path}:{line} imports {module}"
        for height, package in enumerate(LAYERS)
        for path, tree in python_files(package)
        for line, module in imports(tree)
        if module in (*LAYERS[height + 1 :], "tests")
    ]
    expect_none(breaches)


def test_pure_files_touch_no_clock_no_chance_and_no_world() -> None:
    breaches = []
    for path, tree in python_files(*LAYERS):
        if is_in(path, *SHELLS):
            continue
        running = set(imports(tree)) - imports_for_types_only(tree)
        breaches += [f"{path}:{line} imports {module}" for line, module in running if module in IMPURE]
        breaches += [f"{path}:{line} calls {name}" for line, name in calls(tree) if CLOCK_OR_CHANCE.search(name)]
    expect_none(
        breaches, "pass time and chance in; a file that is a shell is listed under SHELLS in tests/test_tidy.py"
    )


def test_every_listed_shell_exists() -> None:
    expect_none(pattern for pattern in SHELLS if not any(ROOT.glob(pattern)))


def test_libp2p_and_torch_stay_in_their_rooms() -> None:
    breaches = [
        f"{path}:{line} imports {module}, which belongs in {CONFINED[module][0]}"
        for path, tree in python_files(*LAYERS)
        for line, module in imports(tree)
        if module in CONFINED and not is_in(path, *CONFINED[module])
    ]
    expect_none(breaches)


def test_no_code_executes_data() -> None:
    breaches = []
    for path, tree in python_files(*LAYERS, "tests"):
        breaches += [f"{path}:{line} imports {module}" for line, module in imports(tree) if module in EXECUTING_MODULES]
        breaches += [f"{path}:{line} calls {name}" for line, name in calls(tree) if name in EXECUTING_CALLS]
        breaches += [
            f"{path}:{node.lineno} allows pickle"
            for node in ast.walk(tree)
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False"
        ]
    expect_none(breaches)


def test_no_failure_is_swallowed_whole() -> None:
    too_wide = re.compile(r"\b(Exception|BaseException)\b")
    breaches = []
    for path, tree in python_files(*LAYERS, "tests"):
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.unparse(node.type) if node.type else "Exception"
                does_nothing = all(ast.unparse(statement) in ("pass", "...", "continue") for statement in node.body)
                if does_nothing and too_wide.search(caught):
                    breaches.append(f"{path}:{node.lineno} ignores {caught}")
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress"):
                breaches += [
                    f"{path}:{node.lineno} suppresses {ast.unparse(argument)}"
                    for argument in node.args
                    if too_wide.search(ast.unparse(argument))
                ]
    expect_none(breaches)


def test_a_file_is_read_in_one_sitting() -> None:
    lengths = {path: len((ROOT / path).read_text().splitlines()) for path, _ in python_files(*LAYERS, "tests")}
    longer = {path for path, lines in lengths.items() if lines > LINES_MAX}
    expect_none(f"{path} has {lengths[path]} lines, over {LINES_MAX}" for path in longer - LONGER_FILES)
    expect_none((f"{path} is no longer long" for path in LONGER_FILES - longer), "take it off LONGER_FILES")


def test_no_file_names_a_machine_or_a_registry() -> None:
    breaches = []
    for name in repository_files():
        content = (ROOT / name).read_bytes()
        if b"\0" in content:
            continue
        for line, text in enumerate(content.decode().splitlines(), start=1):
            if found := MACHINE_PATH.search(text) or REGISTRY_HOST.search(text):
                breaches.append(f"{name}:{line} names {found.group()}")
    expect_none(breaches)


def test_no_file_weighs_on_every_clone() -> None:
    sizes = {name: (ROOT / name).stat().st_size for name in repository_files()}
    expect_none(
        f"{name} has {size} bytes, over {BLOB_BYTES_MAX}" for name, size in sizes.items() if size > BLOB_BYTES_MAX
    )


def test_top_level_is_fixed() -> None:
    expect_none({name.partition("/")[0] for name in repository_files()} - TOP_LEVEL)


def declared_dependencies() -> dict[str, str]:
    """Distribution (normalised name) to requirement, over all extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = sum(project["optional-dependencies"].values(), project["dependencies"])
    return {normalised(re.split(r"[^\w.-]", requirement)[0]): requirement for requirement in requirements}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_third_party_import_is_declared() -> None:
    distributions = importlib.metadata.packages_distributions()
    known = {*sys.stdlib_module_names, *LAYERS, "tests"}
    declared = set(declared_dependencies())
    breaches = [
        f"{path}:{line} imports {module}"
        for path, tree in python_files(*LAYERS, "tests")
        for line, module in imports(tree)
        if module not in known and declared.isdisjoint(map(normalised, distributions.get(module, [])))
    ]
    expect_none(breaches)


def test_every_dependency_but_torch_is_locked_once() -> None:
    lines = (ROOT / "deploy/constraints.txt").read_text().splitlines()
    locked = [normalised(line.partition("==")[0]) for line in lines if not line.startswith("#")]
    assert len(locked) == len(set(locked))
    assert set(declared_dependencies()) - set(locked) == {"torch"}


@pytest.mark.parametrize("program", ["import node.cli", "from node.cli import main; main()"], ids=["import", "help"])
def test_command_line_starts_without_heavy_modules(program: str) -> None:
    code = f"import sys; sys.argv[1:] = ['--help']; {program}"
    command = [sys.executable, "-X", "importtime", "-c", code]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr.splitlines()[-1]
    assert {line.rpartition("|")[2].strip() for line in finished.stderr.splitlines()} & HEAVY == set()
