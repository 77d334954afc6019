"""What stands for a checkpoint: last or best of the newest run, and a run by its name or folder."""

from datetime import UTC, datetime
from pathlib import Path

from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.runs.folder import CHECKPOINTS, NUMBERED, OF_NEWEST, RUNS, from_here, run_of
from emotion_lightning.runs.provenance import read_starts


def newest(name: str, root: str | Path | None, run: str = "*") -> Path | None:
    """The checkpoint called ``name`` of the newest run below ``root`` that has one, or of those called ``run``.

    The newest is the one that began last, whatever was resumed since.
    """
    found = (Path(root or ".") / RUNS).glob(f"{run}/{CHECKPOINTS}/{name}.ckpt")
    return max(found, key=lambda path: order(run_of(path)), default=None)


def order(run: Path) -> tuple[str, int, str]:
    """What runs are sorted by: when they began; in the same second by their numbers and names."""
    numbered = NUMBERED.fullmatch(run.name)
    return began(run), int(numbered[1]) if numbered else -1, run.name


def began(run: Path) -> str:
    """When a run began, as ISO 8601 in UTC; for one that does not say, when its folder was last changed."""
    try:
        return str(read_starts(run)[0]["started"])
    except (DataError, OSError, LookupError):
        return datetime.fromtimestamp(run.stat().st_mtime, UTC).isoformat(timespec="seconds")


def run_named(given: str, root: str | Path | None = None) -> Path:
    """Folder of the run that is ``given`` by its name, its folder, a checkpoint in it, or last or best.

    Args:
        given: What was typed.
        root: Folder with the folder of all runs; by default the one that the program was started in.

    Raises:
        UsageError: There is none.
    """
    path = Path(checkpoint_named(given, root) if given in OF_NEWEST else given).expanduser()
    folder = run_of(path) if path.is_file() else _folder(given, root)
    if folder is None:
        runs = Path(root or ".") / RUNS
        raise UsageError(f"{given}: no such run; give its folder, or the name of one in {from_here(runs)}")
    return folder


def _folder(given: str, root: str | Path | None) -> Path | None:
    """Folder that is ``given`` by its path or by its name; of two, that with checkpoints."""
    folders = [folder for folder in (Path(given).expanduser(), Path(root or ".") / RUNS / given) if folder.is_dir()]
    return next((folder for folder in folders if (folder / CHECKPOINTS).is_dir()), next(iter(folders), None))


def checkpoint_named(given: str, root: str | Path | None = None, of_run: str = "best") -> str:
    """Return the file that ``given`` stands for, or itself: last, best, or a run by its name or folder.

    Args:
        given: What was typed.
        root: Folder with the folder of all runs; by default the one that the program was started in.
        of_run: Which checkpoint of a run is meant.

    Raises:
        UsageError: There is none.
    """
    if given in OF_NEWEST:
        file = newest(given, root)
        if file is None:
            raise UsageError(
                f"`ckpt_path={given}` is that of the newest run, and no run in {from_here(Path(root or '.') / RUNS)} "
                f"has a {given}.ckpt: give its file, or the runs' `default_root_dir`"
            )
        return str(file)
    folder = None if Path(given).expanduser().is_file() else _folder(given, root)
    if folder is None:
        return given
    file = folder / CHECKPOINTS / f"{of_run}.ckpt"
    if file.is_file():
        return str(file)
    others = sorted(file.parent.glob("*.ckpt"), reverse=True)
    advice = f"give another, as by `ckpt_path={from_here(others[0])}`" if others else "give a run that has one"
    raise UsageError(f"`ckpt_path` {given}: {from_here(folder)} has no {CHECKPOINTS}/{of_run}.ckpt: {advice}")
