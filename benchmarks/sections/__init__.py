"""Parts of the benchmark, each by a function of the setting; they can be chosen by name."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import NamedTuple

from benchmarks.figure import Figure
from benchmarks.setting import Setting


class Section(NamedTuple):
    """What is measured, and who the others are compared with; empty where nobody is."""

    module: str
    about: str
    reference: str

    def measure(self, setting: Setting) -> list[Figure]:
        """Measure it; what it needs is imported only now."""
        function: Callable[[Setting], list[Figure]] = import_module(f"benchmarks.sections.{self.module}").measure
        return function(setting)


SECTIONS: Mapping[str, Section] = {
    "phases": Section("phases", "a training step in each phase, from files to weights", "notebook"),
    "overhead": Section("overhead", "a training step at 64 px, with all that we add to a bare loop", "ceiling"),
    "input": Section("input", "from files to augmented batches, one process on one core", "torchvision"),
    "parts": Section("parts", "single operations", ""),
    "epoch_end": Section("epoch_end", "between two epochs: validation, and all else with the checkpoints", ""),
    "divergence": Section("divergence", "a training step at 64 px, with and without its numbers seen to", "without"),
    "scale": Section("scale", "the search for copies among few and many images", ""),
    "startup": Section("startup", "a process from its start to its end", "importing the libraries"),
}
