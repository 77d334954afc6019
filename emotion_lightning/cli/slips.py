"""What was perhaps meant: words of other programs for an option or a command, and slips of the keyboard."""

import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches

from emotion_lightning.cli.commands import COMMANDS
from emotion_lightning.errors import UsageError
from emotion_lightning.options import OPTIONS, RENAMED

OF_RUNS = ("fit", "validate", "test")
"""Commands whose options are those of the table."""

OTHER_COMMANDS = {
    "fit": "train training run finetune resume learn",
    "test": "eval evaluate evaluation score",
    "validate": "val valid validation",
    "predict": "infer inference classify detect",
    "export": "convert onnx save",
    "demo": "serve app webcam gradio",
    "report": "compare comparison summary",
    "audit": "check inspect data clean dataset",
    "prepare": "crop preprocess align",
}
OTHER_OPTIONS = {
    "model.lr_classifier": "lr learning_rate lr0 max_lr base_lr lr_head head_lr",
    "trainer.max_epochs": "epochs epoch num_epochs n_epochs num_train_epochs",
    "data.root": "data data_dir dataset data_root dataset_root data_path path folder train_dir source input",
    "data.batch_size": "bs batch batchsize train_batch_size per_device_train_batch_size",
    "data.image_size": "img_size imgsz img size resolution",
    "data.num_workers": "workers",
    "data.balance loss": "class_weight class_weights weighted weighted_loss balanced",
    "data.balance sampler": "weighted_sampler oversample oversampling",
    "model.backbone": "model arch architecture net network model_name encoder",
    "model.pretrained": "weights pretrained_weights initial_checkpoint",
    "data.augmentation": "augment augmentation augmentations aug auto_augment aa",
    "model.mix_prob": "mix",
    "model.lr_schedule": "scheduler lr_scheduler lr_scheduler_type sched cos_lr",
    "model.mixup_alpha": "mixup",
    "model.cutmix_alpha": "cutmix",
    "model.dropout_rate": "dropout drop drop_rate",
    "model.weight_decay": "wd",
    "model.label_smoothing": "smoothing",
    "ema.decay": "ema ema_decay model_ema model_ema_decay",
    "unfreeze.schedule": "unfreeze freeze frozen freeze_backbone freeze_epochs unfreeze_epoch",
    "trainer.accelerator gpu": "gpu cuda device",
    "trainer.devices": "gpus num_gpus n_gpu ngpu",
    "trainer.precision": "fp16 amp bf16 half mixed_precision",
    "trainer.gradient_clip_val": "clip_grad grad_clip clip max_grad_norm gradient_clip",
    "trainer.accumulate_grad_batches": "accumulate accum grad_accum gradient_accumulation_steps",
    "trainer.default_root_dir": "output output_dir out out_dir save_dir log_dir logdir project",
    "ckpt_path": "checkpoint ckpt load from_checkpoint resume_from resume_from_checkpoint",
    "seed_everything": "seed random_seed manual_seed",
    "data.drop_classes": "exclude exclude_classes ignore_classes",
}
"""Command or option to what other programs (timm, Ultralytics, Hugging Face, fastai, Lightning) call it."""

REASONS = {
    "model.lr_classifier": ", the peak rate of the classifier (--model.lr_backbone is that of the network below it)",
    "data.augmentation": " (MixUp and CutMix have --model.mix_prob)",
    "trainer.accelerator gpu": " (a GPU is taken where there is one; --trainer.devices says how many)",
}
"""What is to be known of an option beside its name."""

DASHES = "\u2010\u2011\u2012\u2013\u2014\u2212"
"""What word processors and web pages make of dashes."""


def option_meant(name: str, known: Collection[str]) -> str:
    """Say which of the ``known`` options a ``name`` that is none of them may stand for; nothing if none is near."""
    plain = name.replace("-", "_").lower()
    plain = RENAMED.get(plain, plain)
    last = plain.rpartition(".")[2]
    same = [option for option in known if last == option.rpartition(".")[2]]
    words = [option for option, others in OTHER_OPTIONS.items() if last in others.split()]
    words = [option for option in words if option.partition(" ")[0] in known]
    near = get_close_matches(plain, known, n=1, cutoff=0.7)
    meant = ([plain] if plain in known else []) or (same if len(same) == 1 else []) or words or near
    known_as = REASONS.get(meant[0], "") if meant and meant == words else ""
    return f" -- did you mean --{meant[0]}{known_as}?" if meant else ""


def command_meant(name: str) -> str:
    """Say which command a ``name`` that is none may stand for."""
    words = [command for command, others in OTHER_COMMANDS.items() if name in others.split()]
    meant = words or get_close_matches(name, COMMANDS, n=1)
    return f" -- did you mean {meant[0]}?" if meant else f"; the commands are {', '.join(COMMANDS)}"


def check_words(args: Sequence[str]) -> None:
    """Refuse what no command line can mean, before any library is imported, which takes seconds.

    Raises:
        UsageError: There is no such command or option, or a word stands where none can.
    """
    command = args[0]
    if command.startswith("-"):
        given = next((arg for arg in args if arg in COMMANDS), "fit")
        raise UsageError(f"put the command first and its options after it: {given} {command} ...")
    if command not in COMMANDS:
        raise UsageError(f"there is no command '{command}'{command_meant(command)}")
    if command in OF_RUNS:
        for option, values in _split(args[1:]):
            _check_option(option)
            _check_values(option, values)


def _split(args: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each option with the words after it; at first none with those before any."""
    option, values = "", list[str]()
    for arg in args:
        if re.match(rf"[-{DASHES}][^\W\d]|--|[{DASHES}]-|-[{DASHES}]", arg):
            yield option, values
            option, equals, value = arg.partition("=")
            values = [value] if equals else []
        else:
            values.append(arg)
    yield option, values


def _check_option(option: str) -> None:
    name = option.lstrip(f"-{DASHES}").rstrip("+")
    if option in ("", "-c", "-h") or name.startswith(("trainer.", "help.")):  # the parser knows which Lightning has
        return
    groups = {known.partition(".")[0] for known in OPTIONS if "." in known}
    if name not in OPTIONS and name not in groups | {"config", "help", "print_config"}:
        raise UsageError(f"there is no option {option}{option_meant(name, OPTIONS)}")
    if not re.match(r"--\w", option):
        raise UsageError(f"{option}: an option begins with two plain dashes, --{name}")


def _check_values(option: str, values: list[str]) -> None:
    """Refuse words that belong to no option; those without a group of their own may take several."""
    first = values[0] if values else ""
    if first == "=":
        raise UsageError(f"{option} =: leave out the spaces around =, or write {option} {' '.join(values[1:])}")
    if option == "--data" and "{" not in first and not first.endswith((".yaml", ".yml", ".json")):
        raise UsageError(f"--data {first}: the folder of the images is --data.root {first}")
    if option == "--model" and "{" not in first and not first.endswith((".yaml", ".yml", ".json")):
        raise UsageError(f"--model {first}: the network is --model.backbone {first}")
    if option and "." in option and len(values) > 1:
        if first[:1] in ("{", "["):
            raise UsageError(f"put quotes around the value that has spaces: {option} '{' '.join(values)}'")
        raise UsageError(f"{option} takes one value; give several in brackets, {option} [{','.join(values)}]")
    if not option and values:
        raise UsageError(f"'{first}' belongs to no option -- did you mean {option_of(first)}?")


def option_of(word: str) -> str:
    """Write a lone word with the option that it is probably for."""
    name, equals, value = word.partition("=")
    if equals and name in OPTIONS:
        return f"--{name} {value}"
    if word.endswith((".yaml", ".yml")):
        return f"--config {word}"
    return f"--{'ckpt_path' if word.endswith('.ckpt') else 'data.root'} {word}"
