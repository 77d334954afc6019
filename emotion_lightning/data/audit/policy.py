"""What training does about what an audit finds: go on and say so, leave images out, or stop."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from emotion_lightning.data.audit.findings import Audit
from emotion_lightning.data.sources.splits import Split
from emotion_lightning.errors import DataError, on_one_line

Policy = Literal["report", "drop", "error"]


class Policies(NamedTuple):
    """What to do about each kind of finding."""

    unreadable: Literal["error", "skip"] = "error"
    leaks: Policy = "report"
    conflicts: Policy = "report"


def excluded(audit: Audit, policies: Policies) -> dict[int, str]:
    """Return the images that are not used, each with the reason: never an image of the test split, if it is readable.

    Of copies in two splits the one in the earlier split goes (of train and val that in train, of val and test that in
    val), so that what is measured stays as it is; of identical images with different labels all those in the training
    split go, since nothing says which label is right.
    """
    out: dict[int, str] = {}
    splits = audit.manifest.splits
    if policies.conflicts == "drop":
        out |= {index: "conflict" for group in audit.conflicts for index in group if splits[index] == "train"}
    if policies.leaks == "drop":
        out |= dict.fromkeys(audit.duplicated_later(), "leak")
    return out | dict.fromkeys(audit.unreadable, "unreadable")


def enforce(audit: Audit, policies: Policies, splits: Sequence[Split], training: bool) -> None:
    """Stop where a policy says so.

    Args:
        audit: What was found.
        policies: What to do about it.
        splits: The splits that are used now; unreadable images of others do not matter.
        training: Whether leaks and conflicts matter, too.

    Raises:
        DataError: Images of these splits are unreadable, leak or contradict one another, and the policy is error.
    """
    splits_of = audit.manifest.splits
    broken = [index for index in audit.unreadable if splits_of[index] in splits]
    if policies.unreadable == "error" and broken:
        raise DataError(unreadable_message(_reasons(audit, broken)))
    if training and policies.leaks == "error" and audit.leaks:
        raise DataError(f"{_leaks(audit)}; `leaks=drop` leaves out the copies in the earlier split")
    if training and policies.conflicts == "error" and audit.conflicts:
        raise DataError(f"{_conflicts(audit)}; `conflicts=drop` leaves them out of training")


def unreadable_message(reasons: Mapping[str, str], excluded: bool = False) -> str:
    """Say which files cannot be decoded and why, and what is or can be done about it."""
    done = " left out" if excluded else "; mend or remove them, or leave them out by `unreadable=skip`"
    listed = "".join(f"\n  {on_one_line(path)}: {reason}" for path, reason in reasons.items())
    return f"{len(reasons):,} unreadable image(s){done}:{listed}"


def policy_messages(audit: Audit, policies: Policies) -> list[str]:
    """Say what was found and what is done about it, a line for each kind; ``enforce`` says what stops a run."""
    lines, out = [], excluded(audit, policies)
    if audit.leaks and policies.leaks != "error":
        done = _count_excluded(audit, out, "leak") if policies.leaks == "drop" else _BIASED
        lines.append(f"{_leaks(audit)}: {done}")
    if audit.conflicts and policies.conflicts != "error":
        done = _count_excluded(audit, out, "conflict") if policies.conflicts == "drop" else _CONTRADICT
        lines.append(f"{_conflicts(audit)}: {done}")
    if audit.unreadable and policies.unreadable == "skip":
        lines.append(unreadable_message(_reasons(audit, list(audit.unreadable)), excluded=True))
    return lines


def _count_excluded(audit: Audit, out: Mapping[int, str], reason: str) -> str:
    """Say how many images of which split are left out."""
    counts = Counter(audit.manifest.splits[index] for index, why in out.items() if why == reason)
    return f"{', '.join(f'{n:,} {split}' for split, n in counts.items()) or 'no more'} images left out"


_BIASED = "metrics on them are too good (WARNING); `leaks=drop` leaves out the copies in the earlier split"
_CONTRADICT = "at least one of them is wrong (WARNING); `conflicts=drop` leaves them out of training"


def _leaks(audit: Audit) -> str:
    return "; ".join(
        f"{len(leaks):,} of {len(audit.manifest.indices(second)):,} {second} images have "
        f"{_relation({leak.kind for leak in leaks})} in {first}"
        for (first, second), leaks in audit.leaks.items()
    )


def _relation(kinds: set[str]) -> str:
    if kinds == {"group"}:
        return "another image of their group"
    return "a copy or another image of their group" if "group" in kinds else "a copy"


def _conflicts(audit: Audit) -> str:
    images = sum(map(len, audit.conflicts))
    groups = len(audit.conflicts)
    return f"{images:,} identical images in {groups:,} group{'s' * (groups > 1)} have different labels"


def _reasons(audit: Audit, indices: Sequence[int]) -> dict[str, str]:
    names = audit.manifest.files or audit.manifest.names
    return {names[index]: audit.unreadable[index] for index in indices}
