"""Whether the tests notice small faults in the code; no part of the suite.

    python tests/mutations.py              # all mutations, one after the other
    python tests/mutations.py model/mix    # those of files whose name begins so

Each mutation is applied to a copy of the package, and the tests that are near it run on the copy until one fails. It
prints which test killed the mutation, or that it survived; with one that survives unexplained the status is 1. A
mutation whose text is no longer in its file is an error: the table has to follow the code. So are tests that fail
without any mutation, as they would kill everything.
"""

# ruff: noqa: E501  # a mutation is a line of the table
import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("emotion_lightning", "tests", "configs", "docs", "pyproject.toml", "README.md")


class Mutation(NamedTuple):
    """In ``file`` of the package, ``old`` becomes ``new``; ``tests`` are to notice. ``excuse`` is why none does."""

    file: str
    old: str
    new: str
    tests: str
    excuse: str = ""


HEAD, MIX, OPTIM, MODULE = (f"tests/model/test_{name}.py" for name in ("head", "mix", "optim", "module"))
BACKBONE, FROZEN = "tests/model/test_backbone.py", "tests/model/test_frozen.py"
EMA, UNFREEZE, CHECKPOINT = (f"tests/callbacks/test_{name}.py" for name in ("ema", "unfreeze", "checkpoint"))
STOPPING, AUGMENT, DATASET = (
    "tests/callbacks/test_early_stopping.py",
    "tests/data/test_augment.py",
    "tests/data/test_dataset.py",
)
LOADERS, SPLITS, SCHEDULE = "tests/data/test_loaders.py", "tests/data/sources/test_splits.py", "tests/test_schedule.py"
NORMALIZATION, PREDICTOR = "tests/model/test_normalization.py", "tests/inference/test_predictor.py"
METRICS, RECIPE, RESUME = "tests/evaluation", "tests/test_recipe.py", "tests/test_resume.py"

REPORTED = (  # these once survived the whole suite
    Mutation("model/optim.py", 'anneal_strategy="cos"', 'anneal_strategy="linear"', OPTIM),
    Mutation("model/mix.py", "rng.betavariate(alpha, alpha)", "rng.betavariate(1, 1)", MIX),
    Mutation("model/mix.py", "side = (1 - lam) ** 0.5", "side = 1 - lam", MIX),
    Mutation("model/mix.py", "int(length * fraction) // 2", "int(length * fraction)", MIX),
    Mutation(
        "model/module.py",
        '"mix", self.current_epoch, batch_idx, self.global_rank',
        '"mix", self.current_epoch, batch_idx',
        MODULE,
    ),
    Mutation(
        "model/module.py",
        '"dropout", self.current_epoch, batch_idx, self.global_rank',
        '"dropout", self.current_epoch, self.global_rank',
        MODULE,
    ),
    Mutation(
        "data/augment.py",
        "return matrix, (1 - contrast) * brightness / 255",
        "return matrix, (1 - contrast) / 255",
        AUGMENT,
    ),
    Mutation(
        "data/augment.py", "angle = 2 * math.pi * _between(uniform", "angle = math.pi * _between(uniform", AUGMENT
    ),
    Mutation(
        "data/augment.py",
        "height, width = (area * ratio).sqrt(), (area / ratio).sqrt()\n    top",
        "height, width = area.sqrt(), area.sqrt()\n    top",
        AUGMENT,
    ),
    Mutation("data/sources/splits.py", "sorted(of_size, reverse=True)", "sorted(of_size)", SPLITS),
    Mutation("callbacks/checkpoint.py", "> self.best_score:", ">= self.best_score:", STOPPING),
    Mutation("model/optim.py", ", eps=eps", "", OPTIM),
    Mutation("model/module.py", '.train("classifier" in stages)', ".train()", MODULE),
    Mutation(
        "callbacks/unfreeze.py",
        "self._apply(trainer, pl_module)\n\n    def on_train_epoch",
        "\n    def on_train_epoch",
        UNFREEZE,
    ),
    Mutation(
        "data/loaders.py",
        'derive_seed(self.seed, "augment", self._epoch())',
        'derive_seed(self.seed, "augment")',
        LOADERS,
    ),
    Mutation("model/optim.py", "weight_decay=weight_decay", "weight_decay=0.0", OPTIM),
)

FURTHER = (
    Mutation("model/optim.py", 'lr_classifier if stage == "classifier" else lr_backbone', "lr_backbone", OPTIM),
    Mutation("model/optim.py", "max(pct_start, 2 / total_steps)", "0.3", OPTIM),
    Mutation("model/optim.py", '[group["lr"] for group in optimizer.param_groups]', "1e-3", OPTIM),
    Mutation("model/optim.py", "optimizer.register_load_state_dict_pre_hook(_keep_fused)", "pass", OPTIM),
    Mutation("model/mix.py", "torch.lerp(partners, images, lam), lam", "torch.lerp(images, partners, lam), lam", MIX),
    Mutation("model/mix.py", "1 - (bottom - top) * (right - left) / (height * width)", "lam", MIX),
    Mutation("model/mix.py", "mixed = images.clone()", "mixed = images", MIX),
    Mutation("model/mix.py", "rng.random() >= self.prob", "rng.random() >= 0.5", MIX),
    Mutation("model/mix.py", "rng.choice(methods)", "methods[-1]", MIX),
    Mutation("model/mix.py", "MixedLabels(labels, labels[order], lam, method)", "MixedLabels(labels, labels, lam, method)", MIX),
    Mutation("model/mix.py", "self.labels if self.lam >= 0.5 else self.labels_b", "self.labels", MIX),
    Mutation("model/mix.py", "_cross_entropy(logits, self.labels_b, label_smoothing)", "_cross_entropy(logits, self.labels_b, 0.0)", MIX),
    Mutation("model/mix.py", "labels.to(logits.dtype) / labels.sum(dim=1, keepdim=True)", "F.one_hot(class_of(labels), labels.shape[1]).to(logits.dtype)", MIX),
    Mutation("model/mix.py", "rng.randrange(length)", "length // 2", MIX),
    Mutation("model/mix.py", ".manual_seed(rng.getrandbits(63))", ".manual_seed(0)", MIX),
    Mutation("model/head.py", "nn.Dropout(dropout_rate / 2)", "nn.Dropout(dropout_rate)", HEAD),
    Mutation("model/head.py", "xavier_normal_", "xavier_uniform_", HEAD),
    Mutation("model/head.py", "nn.init.zeros_(linear.bias)", "pass", HEAD),
    Mutation("model/head.py", "nn.ReLU(inplace=True)", "nn.GELU()", HEAD),
    Mutation("model/module.py", "logits + self.logit_adjustment", "logits", MODULE),
    Mutation("model/module.py", 'self.hparams["label_smoothing"])\n        self.train', "0.0)\n        self.train", MODULE),
    Mutation("model/module.py", "targets.dominant, losses", "labels, losses", MODULE),
    Mutation("model/module.py", "nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)", "pass", MODULE),
    Mutation("model/module.py", "scaler.unscale_(optimizer)", "pass", MODULE),
    Mutation("model/module.py", "self.val_outputs.reset()", "pass", MODULE),
    Mutation("model/module.py", 'h["lr_classifier"], h["weight_decay"], h["eps"]', 'h["lr_classifier"], 0.01, 1e-8', MODULE),
    Mutation("model/module.py", 'build_scheduler(optimizer, steps, h["pct_start"]', "build_scheduler(optimizer, steps, 0.1", MODULE),
    Mutation("model/module.py", "if steps != self._total_steps", "if False", f"{RESUME}::test_a_resume_under_another_schedule_is_refused"),
    Mutation("model/network.py", "tta_logits(self, images, tta) / self.temperature", "tta_logits(self, images, tta)", "tests/model/test_temperature.py"),
    Mutation("model/module.py", "self.train_scores.reset()", "pass", MODULE),
    Mutation("model/backbone.py", "_set_mode(self.body, trains=any(p.requires_grad for p in self.body.parameters()))", "self.body.train()", BACKBONE),
    Mutation("model/backbone.py", "requires_grad_(self.stage_of[name] in trainable)", "requires_grad_(True)", BACKBONE),
    Mutation("model/backbone.py", "                    module.eval()", "                    pass", UNFREEZE),
    Mutation("model/frozen.py", "setattr(module, second, nn.Identity())", "pass", FROZEN),
    Mutation("model/frozen.py", "maps = maps.clone()", "pass", FROZEN),
    Mutation("callbacks/ema.py", "(1 + updates) / (10 + updates)", "1.0", EMA),
    Mutation("callbacks/ema.py", "self._average[name].copy_(self._live[name])", "pass", EMA),
    Mutation("callbacks/ema.py", "if value.is_floating_point()]", 'if value.is_floating_point() and "running" not in name]', EMA),
    Mutation("callbacks/ema.py", "torch.promote_types(value.dtype, torch.float32) if value.is_floating_point() else value.dtype", "value.dtype", EMA),
    Mutation("callbacks/ema.py", "or trainer.global_step == self.updates", "", EMA),
    Mutation("callbacks/ema.py", "checkpoint[RAW] = self._raw or checkpoint", "checkpoint[RAW] = checkpoint", EMA),
    Mutation("callbacks/ema.py", "pl_module.load_state_dict(checkpoint[RAW])", "pass", RESUME),
    Mutation("callbacks/ema.py", 'self.updates = state_dict["updates"]', "pass", RESUME),
    Mutation("callbacks/early_stopping.py", "self.wait_count, self.stopped_epoch = 0, 0", "pass", STOPPING),
    Mutation("callbacks/early_stopping.py", 'pl_module.load_state_dict(best["state_dict"])', "pass", STOPPING),
    Mutation("callbacks/early_stopping.py", 'mode="max"', 'mode="min"', f"{RECIPE} {STOPPING}"),
    Mutation("callbacks/checkpoint.py", "(trainer.current_epoch + 1) % self.every_n_epochs", "trainer.current_epoch % self.every_n_epochs", CHECKPOINT),
    Mutation("callbacks/unfreeze.py", "trainable_stages(self.schedule, trainer.current_epoch)", "trainable_stages(self.schedule, trainer.current_epoch + 1)", UNFREEZE),
    Mutation("schedule.py", "epoch >= unfreeze_epoch else 1", "epoch > unfreeze_epoch else 1", SCHEDULE),
    Mutation("schedule.py", "list(parsed.values())[-1]", "list(parsed.values())[0]", SCHEDULE),
    Mutation("data/augment.py", "limit = 2 * phase.translate", "limit = phase.translate", AUGMENT),
    Mutation("data/augment.py", 'draws["flip"] < phase.flip', 'draws["flip"] < phase.flip / 2', AUGMENT),
    Mutation("data/augment.py", 'draws["gray"] < phase.gray', 'draws["gray"] < 0', AUGMENT),
    Mutation("data/augment.py", 'padding_mode="zeros"', 'padding_mode="border"', AUGMENT),
    Mutation("data/augment.py", 'mode="replicate"', 'mode="constant"', AUGMENT),
    Mutation("data/augment.py", 'rows / _between(draws["zoom"]', 'rows * _between(draws["zoom"]', AUGMENT),
    Mutation("data/augment.py", '_log_between(draws["erase_ratio"]', '_between(draws["erase_ratio"]', AUGMENT),
    Mutation("data/augment.py", "out.clamp_(0, 1)", "out", AUGMENT),
    Mutation("data/augment.py", 'mode="bilinear", antialias=True', 'mode="bilinear"', AUGMENT),
    Mutation("data/augment.py", '_between(draws["area"], *phase.crop_area)', '_between(draws["area"], 0.6, 1.0)', AUGMENT),
    Mutation("data/dataset.py", '"shuffle", self.epoch', '"shuffle", 0', DATASET),
    Mutation("data/dataset.py", "self._order(generator)[self.rank :: self.world_size]", "self._order(generator)[:: self.world_size]", DATASET),
    Mutation("data/dataset.py", "1.0 / classes.bincount()[classes]", "torch.ones(len(classes))", "tests/data/test_balance.py"),
    Mutation("data/dataset.py", "mine + [IGNORE_INDEX] *", "mine + mine[:1] *", DATASET),
    Mutation("data/dataset.py", "drop_last=drop_last", "drop_last=False", LOADERS),
    Mutation("data/loaders.py", "2 * self._training_batch if", "self._training_batch if", LOADERS),
    Mutation("data/loaders.py", "POLICIES[augmentation_phase(self._epoch(), self.unfreeze_epoch, self.augmentation)]", "POLICIES[1]", LOADERS),
    Mutation("data/sources/splits.py", 'derive_seed(seed, "cut", digest)', 'derive_seed("cut", digest)', SPLITS),
    Mutation("data/sources/splits.py", "small |= lacking", "return [placed[digest] for digest in digests]", SPLITS),
    Mutation("evaluation/confusion.py", "(labels * classes + predicted)", "(predicted * classes + labels)", METRICS),
    Mutation("evaluation/confusion.py", "2 * hits / (predicted + support)", "hits / (predicted + support)", METRICS),
    Mutation("evaluation/confusion.py", '"f1_weighted": (f1 * support).sum(dim=-1) / total', '"f1_weighted": f1.mean(dim=-1)', f"{METRICS} {MODULE}"),
    Mutation("evaluation/outputs.py", "order = order[labels[order] != IGNORE_INDEX]", "pass", f"{METRICS} {LOADERS}"),
    Mutation("evaluation/outputs.py", ".where(self.answered, NO_CLASS)", "", METRICS),
    Mutation("evaluation/intervals.py", "[(1 - level) / 2, (1 + level) / 2]", "[1 - level, level]", METRICS),
    Mutation("evaluation/calibration.py", "return 2 / (least + most)", "return (least + most) / 2", METRICS),
    Mutation("evaluation/curves.py", "precision[0] = 1", "precision[0] = 0", METRICS),
    Mutation("model/network.py", "as_images(images, self.normalization)", "as_images(images)", NORMALIZATION),
    Mutation("data/loaders.py", "normalize(images.float() / 255, self._normalization)", "normalize(images.float() / 255)", NORMALIZATION),
    Mutation("data/loaders.py", "phase, side, self._normalization)", "phase, side)", NORMALIZATION),
    Mutation("inference/predictor.py", "non_blocking=True), self.model.normalization)", "non_blocking=True))", PREDICTOR),
    Mutation("inference/predictor.py", "probability >= self.threshold.probability", "True", PREDICTOR),
    Mutation("evaluation/selective.py", " & (found.answers >= fewest_answers(precision))", "", METRICS),
    Mutation("evaluation/selective.py", "enough.nonzero()[-1]", "enough.nonzero()[0]", METRICS),
    Mutation("evaluation/selective.py", "(above + below) / 2", "below", METRICS),
)  # fmt: skip


def run(mutation: Mutation) -> str:
    """Apply ``mutation`` to a copy and run its tests; return the first that fails, or nothing."""
    if failed := _first_failure(mutation.tests):
        raise SystemExit(f"{failed} fails without a mutation: correct it first")
    return _first_failure(mutation.tests, mutation)


@cache
def _first_failure(tests: str, mutation: Mutation | None = None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        if mutation:
            file = copy / "emotion_lightning" / mutation.file
            text = file.read_text(encoding="utf-8")
            if mutation.old not in text:
                raise SystemExit(f"{mutation.file} no longer has {mutation.old!r}: correct the table")
            file.write_text(text.replace(mutation.old, mutation.new, 1), encoding="utf-8")
        log = Path(folder) / "log"
        child = os.fork()  # torch and lightning are imported already, which takes longer than most tests
        if child == 0:
            _test(copy, log, tests.split())
        _, status = os.waitpid(child, 0)
        failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", log.read_text(encoding="utf-8"), re.MULTILINE)
    return (failed or ["an exception"])[0] if status else ""


def _test(copy: Path, log: Path, tests: list[str]) -> None:
    import pytest

    os.chdir(copy)
    os.environ["PYTHONPATH"] = sys.path[0] = str(copy)
    written = io.StringIO()
    with redirect_stdout(written), redirect_stderr(written):
        status = pytest.main(["-p", "no:cacheprovider", "-n", "0", "-x", "-W", "ignore", *tests])
    log.write_text(written.getvalue(), encoding="utf-8")
    os._exit(0 if status == 0 else 1)


def chosen(names: list[str]) -> Iterator[Mutation]:
    """Mutations of the files whose names begin with one of ``names``; all without any."""
    return (mutation for mutation in REPORTED + FURTHER if not names or mutation.file.startswith(tuple(names)))


def main() -> int:
    """Try the mutations that are asked for; return the exit status."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import lightning.pytorch  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import timm  # noqa: F401
    import torchvision.transforms.v2  # noqa: F401

    survivors = 0
    for mutation in chosen(sys.argv[1:]):
        killer = run(mutation)
        survivors += not killer and not mutation.excuse
        verdict = f"killed by {killer}" if killer else f"SURVIVED {mutation.excuse}"
        print(f"{mutation.file}: {mutation.old!r} -> {mutation.new!r}: {verdict}", flush=True)
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main())
