"""The plan of the package: imports point one way, and no two modules import each other."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "emotion_lightning"

FLOORS = (
    ("errors",),
    ("options", "batch", "seeding"),
    ("evaluation", "runs", "schedule", "runtime"),
    ("model", "data"),
    ("report", "inference"),
    ("callbacks", "export"),
    ("tuning",),
    ("cli",),
    ("__init__", "__main__"),
)
"""Rooms of the package; each imports from earlier entries of this list and from itself, not from its own entry."""

DATA_FLOORS = (
    ("images", "drawn", "augment", "corruptions"),
    ("sources", "dataset"),
    ("audit",),
    ("loaders",),
    ("measured",),
    ("datamodule",),
)
"""The same within ``data``."""


def modules() -> dict[str, Path]:
    paths = sorted((ROOT / PACKAGE).rglob("*.py"))
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(PACKAGE):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else node.module


def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imported(path, known)) for name, path in known.items()}


def floor_of(name: str, floors: tuple[tuple[str, ...], ...], depth: int) -> tuple[int, str]:
    room = name.split(".")[depth] if name.count(".") >= depth else "__init__"
    [floor] = [place for place, rooms in enumerate(floors) if room in rooms]
    return floor, room


def wrong_way(floors: tuple[tuple[str, ...], ...], depth: int, prefix: str) -> list[str]:
    found = []
    for name, others in graph().items():
        for other in others:
            if not (name.startswith(prefix) and other.startswith(prefix)) or prefix in (name, other):
                continue
            (floor, room), (below, other_room) = floor_of(name, floors, depth), floor_of(other, floors, depth)
            if room != other_room and below >= floor:
                found.append(f"{name} imports {other}")
    return found


def test_rooms_import_only_from_floors_below_theirs() -> None:
    assert wrong_way(FLOORS, 1, f"{PACKAGE}.") == []


def test_rooms_of_the_data_import_only_from_floors_below_theirs() -> None:
    assert wrong_way(DATA_FLOORS, 2, f"{PACKAGE}.data.") == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    # a package's own __init__ collects what is below it, so it does not count for the files that it names
    edges = {
        name: {other for other in others if not name.startswith(f"{other}.") and other != name}
        for name, others in graph().items()
    }
    TopologicalSorter(edges).prepare()  # raises CycleError


def calls(folders: tuple[str, ...], *names: str) -> Iterator[tuple[str, ast.Call]]:
    """Calls of methods of these ``names``, each with its place."""
    for path in (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}", node


def is_bytes(node: ast.Call) -> bool:
    return any(isinstance(arg, ast.Constant) and "b" in str(arg.value) for arg in node.args)


def test_text_is_utf_8_whatever_the_machine_uses() -> None:
    found = list(calls((PACKAGE, "benchmarks", "docs"), "open", "read_text", "write_text"))
    assert len(found) > 20
    without = [place for place, node in found if "encoding" not in {word.arg for word in node.keywords}]
    bytes_only = {place for place, node in found if is_bytes(node)}
    others = ("Image.open(", "os.open(", "archive.open(")
    assert [p for p in without if p not in bytes_only and p.partition(" ")[2].startswith(others) is False] == []


def test_what_the_package_writes_is_written_whole_or_not_at_all() -> None:
    """Each file is first the temporary one of ``atomic_write``, which Windows, too, puts in place of another."""
    writing = [
        (place, node)
        for place, node in calls((PACKAGE,), "write_text", "write_bytes", "open", "savefig", "rename", "move")
        if any(sign in ast.unparse(node) for sign in ("write_", "savefig", "rename", "move", "'w'", "'wb'", "'a'"))
    ]
    assert len(writing) > 6
    buffers = ("buffer", "temporary")
    unsafe = [
        place
        for place, node in writing
        if not any(name.id in buffers for name in ast.walk(node) if isinstance(name, ast.Name))
    ]
    assert unsafe == []


def test_no_test_imports_another() -> None:
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests"):
                assert node.module in ("tests.helpers", "tests.data.files"), f"{path} imports {node.module}"
