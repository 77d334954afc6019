import pytest

from emotion_lightning.errors import UsageError
from emotion_lightning.schedule import (
    RECIPE_SCHEDULE,
    STAGES,
    Schedule,
    augmentation_phase,
    in_epochs,
    last_unfreezing,
    parse_resolutions,
    parse_schedule,
    phases,
    trainable_stages,
    training_resolution,
    unfreeze_epoch,
)


@pytest.mark.parametrize(
    ("epoch", "lowest"),
    [(0, "classifier"), (9, "classifier"), (10, "layer4"), (19, "layer4"), (20, "layer3"), (30, "layer2")]
    + [(39, "layer2"), (40, "stem"), (79, "stem"), (500, "stem")],
)
def test_recipe_unfreezes_from_the_classifier_down(epoch: int, lowest: str) -> None:
    assert trainable_stages(parse_schedule(RECIPE_SCHEDULE), epoch) == STAGES[STAGES.index(lowest) :]


@pytest.mark.parametrize(
    ("schedule", "named"),
    [
        ({0: "classifier", 3: "layer5"}, "layer5"),
        ({1: "classifier"}, "epoch 0"),
        ({}, "epoch 0"),
        ({-1: "classifier", 0: "all"}, "epoch 0"),
        ({0: "layer4", 5: "classifier"}, "freezes a stage again"),
    ],
)
def test_wrong_schedule_is_refused(schedule: dict[int, str], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        parse_schedule(schedule)


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        (RECIPE_SCHEDULE, 9, RECIPE_SCHEDULE),  # in epochs already
        ("scaled", 80, RECIPE_SCHEDULE),
        ("scaled", 160, {0: "classifier_only", 20: "layer4", 40: "layer3", 60: "layer2", 80: "all_layers"}),
        ("scaled", 8, {0: "classifier_only", 1: "layer4", 2: "layer3", 3: "layer2", 4: "all_layers"}),
        ("scaled", 4, {0: "classifier_only", 1: "layer3", 2: "all_layers"}),  # each phase begins with an epoch
        ("scaled", 1, {0: "classifier_only", 1: "all_layers"}),  # which never comes, as warn_unreached says
        ({0: "classifier", 0.1: "all"}, 30, {0: "classifier", 3: "all"}),  # 0.1 * 30 is above 3 in floating point
        ({"0": "classifier", "0.5": "all"}, 6, {0: "classifier", 3: "all"}),  # as a configuration that was read has it
        ({"0": "classifier", "5": "all"}, 6, {0: "classifier", 5: "all"}),
        ({0.0: "classifier", 1.0: "all"}, 6, {0: "classifier", 1: "all"}),
    ],
)
def test_parts_of_a_run_become_epochs(schedule: Schedule, epochs: int, expected: dict[int, str]) -> None:
    assert in_epochs(schedule, epochs) == expected


@pytest.mark.parametrize(
    ("schedule", "epochs", "named"),
    [
        ({0: "classifier", 0.5: "layer4", 5: "all"}, 10, "mixes epochs and parts of the run"),
        ({0: "classifier", -0.5: "all"}, 10, "mixes epochs and parts of the run"),
        ({0: "classifier", "soon": "all"}, 10, "'soon' is no epoch"),
        ({0: "classifier", float("nan"): "all"}, 10, "no epoch"),
        ("scaled", -1, "`max_epochs`"),
        ("scaled", None, "`max_epochs`"),
    ],
)
def test_what_is_no_part_of_a_run_is_refused(schedule: Schedule, epochs: int | None, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        in_epochs(schedule, epochs)


def test_all_and_all_layers_mean_the_same() -> None:
    assert parse_schedule({0: "all"}) == parse_schedule({0: "all_layers"}) == {0: "stem"}


def test_last_unfreezing_ignores_entries_that_unfreeze_nothing() -> None:
    assert last_unfreezing(parse_schedule(RECIPE_SCHEDULE)) == 40
    assert last_unfreezing(parse_schedule({0: "classifier", 3: "layer4", 7: "layer4"})) == 3


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [(RECIPE_SCHEDULE, 10), ({0: "all"}, 0), ({0: "classifier"}, None), ({0: "classifier", 2: "layer1"}, 2)],
)
def test_finetuning_starts_with_the_first_stage_of_the_backbone(schedule: dict[int, str], expected: int | None) -> None:
    assert unfreeze_epoch(schedule) == expected


def test_phase_changes_at_finetuning_and_stays() -> None:
    assert [augmentation_phase(epoch, 2) for epoch in range(5)] == [1, 1, 2, 2, 2]
    assert {augmentation_phase(epoch, None) for epoch in range(100)} == {1}


def test_phases_are_the_stretches_between_entries_that_the_run_reaches() -> None:
    schedule = parse_schedule({0: "classifier", 3: "layer4", 5: "all"})
    assert [phase[:2] for phase in phases(schedule, 9)] == [(0, 3), (3, 5), (5, 9)]
    assert [phase[:2] for phase in phases(schedule, 5)] == [(0, 3), (3, 5)]
    assert [phase.stages for phase in phases(schedule, 9)] == [trainable_stages(schedule, e) for e in (0, 3, 5)]
    assert phases(schedule, 1) == [(0, 1, ("classifier",))]


def test_another_size_begins_a_stretch_too() -> None:
    schedule = parse_schedule({0: "classifier", 3: "all"})
    assert phases(schedule, 9, {0: 32, 3: 48, 5: 64, 9: 96}) == [
        (0, 3, ("classifier",)),
        (3, 5, STAGES),
        (5, 9, STAGES),
    ]


def test_the_side_of_training_images_is_that_of_the_latest_entry() -> None:
    sizes = parse_resolutions({60: 224, 0: 128, 30: 160}, 224)
    assert list(sizes) == [0, 30, 60]
    assert [training_resolution(sizes, epoch) for epoch in (0, 29, 30, 59, 60, 500)] == [128, 128, 160, 160, 224, 224]
    assert training_resolution(parse_resolutions(None, 96), 7) == 96
    assert training_resolution(parse_resolutions({0: 224, 5: 128}, 224), 5) == 128  # nothing says that images must grow


@pytest.mark.parametrize(
    ("schedule", "named"),
    [
        ({0: 128, 5: 225}, "225 pixels at epoch 5.*at most `image_size` 224"),
        ({0: 0}, "0 pixels at epoch 0"),
        ({0: -64}, "-64 pixels at epoch 0"),
        ({0: 23}, "23 pixels at epoch 0; a side is at least 24"),
        ({1: 128}, "must begin with epoch 0"),
        ({-1: 128, 0: 224}, "must begin with epoch 0"),
        ({}, "must begin with epoch 0"),
    ],
)
def test_wrong_sizes_are_refused(schedule: dict[int, int], named: str) -> None:
    with pytest.raises(UsageError, match=f"`resolution_schedule`.*{named}"):
        parse_resolutions(schedule, 224)
