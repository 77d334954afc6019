"""The command review: pages on which people look at doubtful labels."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path

from emotion_lightning.cli.parser import OptionParser
from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.datamodule import EmotionDataModule
from emotion_lightning.data.sources.corrections import read_corrections
from emotion_lightning.errors import UsageError, check_least
from emotion_lightning.report.run import of_runs
from emotion_lightning.runs.config import checkpoint_config, load_checkpoint
from emotion_lightning.runs.files import ensure_writable, write_page
from emotion_lightning.runs.folder import from_here, pasted
from emotion_lightning.runs.newest import checkpoint_named, run_named


def review(args: Sequence[str], program: str, description: str) -> None:
    """Write the pages, and say which runs they are of and how many labels are doubtful."""
    from emotion_lightning.report.held_out import read_held_out, with_other_folds
    from emotion_lightning.report.review_page import PER_PAGE, Doubtful, pages  # what draws is slow to import

    parser = OptionParser(prog=program, description=description)
    parser.add_argument(
        "runs",
        nargs="+",
        type=str,
        metavar="RUN",
        help="Run of a fold, by its name or folder, or last; those of the other folds beside it are found.",
    )
    parser.add_argument("--output", default="review", help="Folder for the pages, of which index.html is the first.")
    parser.add_argument("--per_page", type=int, default=PER_PAGE, help="Most images of a page.")
    config = parser.parse_args(list(args))
    check_least("per_page", config.per_page, 1)
    folder = Path(config.output).expanduser()
    ensure_writable(folder, "--output")
    given = [run_named(run) for run in config.runs]
    with of_runs(*given):
        runs = with_other_folds(given[0]) if len(given) == 1 else given
        held_out = read_held_out(runs)
        audit, corrections = _data(runs[0])
    doubtful = Doubtful(audit, held_out)
    for old in folder.glob("[0-9]*.html"):  # of an earlier review, which had more
        old.unlink()
    earlier = [] if corrections is None else read_corrections(corrections)
    for name, text in pages(doubtful, earlier, config.per_page):
        write_page(folder / name, text)
    for run in runs:
        print(f"Run: {from_here(run)}")
    unseen = audit.manifest.indices("train") + audit.manifest.indices("val")
    if lacking := len(unseen) - len(held_out.names):
        print(f"{lacking:,} of {len(unseen):,} images were in no validation split, so nothing is said of them")
    print(
        f"{len(doubtful.by_model):,} of {len(held_out.names):,} labels are doubtful by confident learning, "
        f"{len(doubtful.order) - len(doubtful.by_model):,} more by a copy with another label, or as unreadable"
    )
    print(f"Wrote {pasted(folder / 'index.html')}; it saves corrections.csv, for --data.corrections corrections.csv")


def _data(run: Path) -> tuple[Audit, Path | None]:
    """Data of a run, and its file of corrections; the fold does not matter, so that it is the same of each.

    Raises:
        UsageError: It has no images that could be looked at.
    """
    path = checkpoint_named(str(run))
    options = checkpoint_config(load_checkpoint(path), "test", path)["data"]
    known = signature(EmotionDataModule).parameters
    data = EmotionDataModule(**{name: value for name, value in options.items() if name in known} | {"fold": 0})
    audit = data.audit
    if audit is None:
        raise UsageError(f"{from_here(run)} was trained on the built-in faces, whose labels are right")
    return audit, data.faces.corrections
