import dataclasses

import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as tv

from emotion_lightning.batch import normalize
from emotion_lightning.data.augment import (
    LUMA,
    PARAMS,
    POLICIES,
    AugmentPolicy,
    augment,
    downscale,
    resize_size,
    sample_params,
)
from emotion_lightning.seeding import uniforms

STILL = AugmentPolicy(resize=1.0, flip=0.0)
MIDDLE = torch.full((1, len(PARAMS)), 0.5)


RGB_TO_CHROMA = torch.tensor([[0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
"""I and Q of YIQ (FCC, 1953)."""


def image(size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def smooth(size: int = 64) -> torch.Tensor:
    axis = torch.linspace(0, 3, size)
    waves = torch.stack([torch.sin(axis[:, None] + k) * torch.cos(2 * axis[None, :] + k) for k in range(3)])
    return ((waves * 0.5 + 0.5) * 255).byte()[None]


def set_to(**values: float) -> torch.Tensor:
    drawn = MIDDLE.clone()
    for name, value in values.items():
        drawn[:, PARAMS.index(name)] = value
    return drawn


def test_nothing_to_do_gives_the_normalized_image() -> None:
    torch.testing.assert_close(augment(image(), MIDDLE, STILL, 32), normalize(image().float() / 255), atol=2e-5, rtol=0)


def test_flip_mirrors_left_and_right() -> None:
    phase = dataclasses.replace(STILL, flip=0.6)
    expected = normalize(image().flip(-1).float() / 255)
    torch.testing.assert_close(augment(image(), MIDDLE, phase, 32), expected, atol=2e-5, rtol=0)


def test_a_small_image_is_enlarged_without_a_dark_rim() -> None:
    enlarged = F.interpolate(image(12).float() / 255, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(augment(image(12), MIDDLE, STILL, 32), normalize(enlarged), atol=2e-5, rtol=0)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_image_is_augmented_alike_wherever_it_stands_in_a_batch(threads: int) -> None:
    images = torch.randint(0, 256, (9, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    drawn, before = sample_params(torch.arange(9), seed=3), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = augment(images, drawn, POLICIES[2], 32)
        alone = [augment(images[[i]], drawn[[i]], POLICIES[2], 32) for i in range(9)]
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("phase", "drawn", "angle", "translate", "scale"),
    [
        (dataclasses.replace(STILL, degrees=15), set_to(angle=1.0), 15, (0, 0), 1.0),
        (dataclasses.replace(STILL, translate=0.1), set_to(shift_x=1.0, shift_y=0.25), 0, (6.4, -3.2), 1.0),
        (dataclasses.replace(STILL, scale=(0.9, 1.1)), set_to(zoom=1.0), 0, (0, 0), 1.1),
        (dataclasses.replace(STILL, scale=(0.9, 1.1)), set_to(zoom=0.0), 0, (0, 0), 0.9),
    ],
)
def test_geometry_equals_torchvisions(
    phase: AugmentPolicy, drawn: torch.Tensor, angle: float, translate: tuple[float, float], scale: float
) -> None:
    source = smooth().float() / 255
    ours = augment(smooth(), drawn, phase, 64)
    candidates = [
        tv.affine(source, a, [*translate], scale, [0.0, 0.0], interpolation=tv.InterpolationMode.BILINEAR)
        for a in {angle, -angle}
    ]  # the sign of a symmetric sample_params is a matter of taste
    inner = (..., slice(16, 48), slice(16, 48))
    gaps = [(ours[inner] - normalize(candidate)[inner]).abs().max() for candidate in candidates]
    assert min(gaps) < 0.15


def test_what_comes_from_outside_of_the_image_is_black() -> None:
    white = torch.full((1, 3, 64, 64), 255, dtype=torch.uint8)
    moved = augment(white, set_to(shift_x=1.0), dataclasses.replace(STILL, translate=0.25), 64)
    black = normalize(torch.zeros(1, 3, 1, 1)).expand(-1, -1, 64, 12)
    shown = min((moved[..., :12] - black).abs().max(), (moved[..., -12:] - black).abs().max())
    assert shown < 1e-5


def test_shear_moves_rows_against_each_other_by_its_tangent() -> None:
    stripe = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    stripe[..., 31:33] = 255
    phase = dataclasses.replace(STILL, shear=20)
    sheared = augment(stripe, set_to(shear=1.0), phase, 64)[0, 0]
    top, bottom = sheared[8].argmax().item(), sheared[56].argmax().item()
    assert abs(top - bottom) == pytest.approx(48 * 0.364, abs=1.5)


def test_crop_of_phase_1_is_224_of_256_anywhere() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).expand(1, 3, 256, 256).contiguous()
    phase = dataclasses.replace(STILL, resize=256 / 224)
    for left, first in ((0.0, 0), (0.5, 16), (1 - 1e-6, 32)):
        pixels = augment(ramp, set_to(left=left), phase, 224) * 0.229 * 255 + 0.485 * 255
        assert pixels[0, 0, 100, 0].item() == pytest.approx(first, abs=0.6)
        assert pixels[0, 0, 100, -1].item() == pytest.approx(first + 223, abs=0.6)


def test_random_resized_crop_stays_inside_and_has_the_area_drawn() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).expand(1, 3, 256, 256).contiguous()
    phase = dataclasses.replace(STILL, crop_area=(0.8, 1.0), crop_ratio=(0.9, 1.1))
    for seed in range(50):
        pixels = (
            augment(ramp, uniforms(torch.tensor([seed]), 1, len(PARAMS)), phase, 64)[0, 0] * 0.229 * 255 + 0.485 * 255
        )
        width = (pixels[32, -1] - pixels[32, 0]).item() / 255 * 64 / 63
        assert (0.8 * 0.9) ** 0.5 - 0.02 <= width <= 1.01


@pytest.mark.parametrize(("name", "operation"), [
    ("brightness", tv.adjust_brightness), ("contrast", tv.adjust_contrast), ("saturation", tv.adjust_saturation),
])  # fmt: skip
def test_jitter_equals_torchvisions(name: str, operation: object) -> None:
    dim = image() // 2 + 20  # where nothing is clipped
    phase, drawn = dataclasses.replace(STILL, jitter=0.3), set_to(**{name: 0.9})
    expected = normalize(operation(dim.float() / 255, 1.24))  # type: ignore[operator]
    torch.testing.assert_close(augment(dim, drawn, phase, 32), expected, atol=0.02, rtol=0)


def test_contrast_pulls_towards_the_mean_of_the_brightened_image() -> None:
    dim = image() // 3 + 20
    phase, drawn = dataclasses.replace(STILL, jitter=0.3), set_to(brightness=0.9, contrast=0.2, saturation=0.8)
    expected = tv.adjust_brightness(dim.float() / 255, 1.24)
    expected = tv.adjust_saturation(tv.adjust_contrast(expected, 0.82), 1.18)
    torch.testing.assert_close(augment(dim, drawn, phase, 32), normalize(expected), atol=0.02, rtol=0)


@pytest.mark.parametrize(("drawn", "degrees"), [(0.9, 43.2), (0.0, -54.0)])
def test_hue_turns_the_chroma_by_its_share_of_a_circle(drawn: float, degrees: float) -> None:
    color = torch.tensor([140, 110, 100], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2).contiguous()
    std, mean = (torch.tensor(v) for v in ((0.229, 0.224, 0.225), (0.485, 0.456, 0.406)))
    turned = augment(color, set_to(hue=drawn), dataclasses.replace(STILL, hue=0.15), 2)[0, :, 0, 0] * std + mean
    before, after = (RGB_TO_CHROMA @ values for values in (color[0, :, 0, 0] / 255, turned))
    assert after.norm().item() == pytest.approx(before.norm().item(), rel=0.01)
    angle = torch.atan2(after[1], after[0]) - torch.atan2(before[1], before[0])
    assert angle.rad2deg().item() == pytest.approx(degrees, abs=0.5)


def test_hue_turns_colors_and_leaves_gray_and_luma() -> None:
    phase = dataclasses.replace(STILL, hue=0.15)
    colors = torch.tensor([[0.5, 0.4, 0.4], [0.4, 0.4, 0.4]]).mul(255).byte().T[None, :, :, None].expand(1, 3, 2, 2)
    turned = augment(colors.contiguous(), set_to(hue=0.9), phase, 2)
    plain = normalize(colors.float() / 255)
    torch.testing.assert_close(turned[0, :, 1], plain[0, :, 1], atol=0.01, rtol=0)
    assert (turned[0, :, 0] - plain[0, :, 0]).abs().max() > 0.05
    std = torch.tensor([0.229, 0.224, 0.225])
    shift = ((turned - plain)[0, :, 0, 0] * std) @ torch.tensor(LUMA)
    assert shift.item() == pytest.approx(0, abs=1e-3)


def test_gray_images_have_equal_channels() -> None:
    gray = augment(image(), set_to(gray=0.0), dataclasses.replace(STILL, gray=0.1, jitter=0.3, hue=0.15), 32)
    std, mean = (torch.tensor(v).view(3, 1, 1) for v in ((0.229, 0.224, 0.225), (0.485, 0.456, 0.406)))
    pixels = gray[0] * std + mean
    torch.testing.assert_close(pixels[0], pixels[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(pixels[0], pixels[2], atol=1e-5, rtol=0)


def test_erasing_blanks_a_rectangle_of_the_area_drawn() -> None:
    phase = dataclasses.replace(STILL, erase=0.1)
    white = torch.full((1, 3, 100, 100), 255, dtype=torch.uint8)
    assert (augment(white, set_to(erase=0.2), phase, 100) != 0).all()
    erased = augment(white, set_to(erase=0.05), phase, 100)[0] == 0
    assert erased.float().mean().item() == pytest.approx(0.06, abs=0.01)
    rows, columns = erased[0].any(dim=1).sum(), erased[0].any(dim=0).sum()
    assert rows * columns == erased[0].sum()


@pytest.mark.parametrize(("drawn", "ratio"), [(0.0, 0.3), (1.0, 3.3), (0.5, 0.995)])
def test_erased_rectangles_are_as_high_and_wide_as_drawn_and_lie_anywhere(drawn: float, ratio: float) -> None:
    white = torch.full((1, 3, 400, 400), 255, dtype=torch.uint8)
    erasing = dataclasses.replace(STILL, erase=0.1)
    corners = []
    for place in (0.0, 1.0):
        values = set_to(erase=0.05, erase_area=1.0, erase_ratio=drawn, erase_left=place, erase_top=1 - place)
        erased = augment(white, values, erasing, 400)[0, 0] == 0
        rows, columns = erased.any(dim=1), erased.any(dim=0)
        assert rows.sum().item() / columns.sum().item() == pytest.approx(ratio, rel=0.03)
        assert erased.float().mean().item() == pytest.approx(0.1, abs=0.003)
        corners.append((bool(rows[0]), bool(columns[0])))
    assert corners == [(False, True), (True, False)]


def test_phases_are_the_recipes() -> None:
    first, second = POLICIES[1], POLICIES[2]
    assert (first.resize, first.degrees, first.jitter, first.hue, first.flip) == (256 / 224, 10, 0.2, 0.1, 0.5)
    assert (first.translate, first.shear, first.gray, first.erase, first.crop_area) == (0, 0, 0, 0, None)
    assert (second.crop_area, second.crop_ratio, second.degrees) == ((0.8, 1.0), (0.9, 1.1), 15)
    assert (second.translate, second.scale, second.shear, second.jitter) == (0.1, (0.9, 1.1), 5, 0.3)
    assert (second.hue, second.gray, second.erase, second.erase_area) == (0.15, 0.1, 0.1, (0.02, 0.1))
    assert (resize_size(224), second.flip) == (288, 0.5)


def test_the_basic_phase_resizes_and_flips_and_does_nothing_else() -> None:
    images, drawn = smooth(32), sample_params(torch.tensor([3]), seed=1)
    whole = normalize(images.float() / 255)
    for flip, expected in ((0.0, whole.flip(-1)), (0.9, whole)):
        drawn[:, 0] = flip
        torch.testing.assert_close(augment(images, drawn, POLICIES[0], 32), expected, atol=1e-4, rtol=0)


def test_shrinking_does_not_alias() -> None:
    pixels = torch.arange(resize_size(96))  # three times what is left, whose middles one pixel of three would give
    board = ((pixels[:, None] + pixels) % 2 * 255).to(torch.uint8).expand(2, 3, -1, -1).contiguous()
    small = downscale(board, 32)
    assert tuple(small.shape) == (2, 3, resize_size(32), resize_size(32))
    torch.testing.assert_close(small, torch.full_like(small, 127.5), atol=10, rtol=0)


def test_small_training_images_show_what_large_ones_do() -> None:
    source, drawn = smooth(resize_size(64)), sample_params(torch.tensor([3]), seed=1)
    for phase in POLICIES.values():
        large, small = augment(source, drawn, phase, 64), augment(downscale(source, 32), drawn, phase, 32)
        inner = F.avg_pool2d(large, 2)[..., 4:-4, 4:-4]
        assert (small[..., 4:-4, 4:-4] - inner).abs().mean() < 0.05
