"""The results of a study, one JSON file that it goes on from, also on another machine."""

import json
from pathlib import Path
from threading import Lock
from typing import Any

from benchmarks.accuracy.study import Case, Study
from benchmarks.machine import machine
from emotion_lightning.errors import DataError
from emotion_lightning.runs.files import write_json

Result = dict[str, Any]


class Results:
    """Results by case, on disk after each run.

    Args:
        study: The study; results of configurations that have changed since do not count.
        path: The file.

    Raises:
        DataError: The file is damaged.
    """

    def __init__(self, study: Study, path: Path):
        self.study, self.path = study, path
        self._lock = Lock()
        try:
            self._stored: list[Result] = json.loads(path.read_text(encoding="utf-8"))["runs"] if path.is_file() else []
        except (ValueError, KeyError) as error:
            raise DataError(f"{path} is damaged; take it away, and the study begins anew") from error

    def of(self, case: Case) -> Result | None:
        """Result of ``case``, if a run of its recipe was trained, in whatever group."""
        recipe = _recipe(case)
        return next((run for run in self._stored if run["recipe"] == recipe), None)

    def missing(self) -> list[Case]:
        """Cases without a result, each recipe once."""
        cases: dict[str, Case] = {}
        for case in self.study.cases():
            if self.of(case) is None:
                cases.setdefault(json.dumps(case.recipe), case)
        return list(cases.values())

    def add(self, case: Case, result: Result) -> None:
        """Keep the result of ``case`` in place of an earlier one."""
        names = {"group": case.group, "config": case.config, "seed": case.seed}
        where = {key: value for key, value in machine().items() if key != "command"}  # its paths mean nothing elsewhere
        with self._lock:
            others = [run for run in self._stored if {key: run[key] for key in names} != names]
            self._stored = [*others, {**names, "recipe": _recipe(case), **result, "machine": where}]
            write_json(self.path, {"study": self.study.name, "runs": self._stored}, indent=1)


def _recipe(case: Case) -> Result:
    """What a result depends on, as JSON gives it back: with words as keys."""
    recipe: Result = json.loads(json.dumps(case.recipe))
    return recipe
