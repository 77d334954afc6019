import torch

from emotion_lightning.data.images.sheet import GAP, LINE, SIDE, contact_sheet


def test_images_stand_in_rows_each_above_its_caption() -> None:
    colors = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]], dtype=torch.uint8)
    sheet = contact_sheet(colors[:, :, None, None].expand(3, 3, 20, 20), ["red", "green\nor so", ""], columns=2)
    height, width = SIDE + GAP + 2 * LINE, SIDE + GAP
    assert sheet.shape == (2 * height + GAP, 2 * width + GAP, 3)
    for place, (row, column) in enumerate([(0, 0), (0, 1), (1, 0)]):
        top, left = GAP + row * height, GAP + column * width
        assert (sheet[top : top + SIDE, left : left + SIDE] == colors[place].numpy()).all()
        caption = sheet[top + SIDE : top + SIDE + 2 * LINE, left : left + SIDE]
        assert (caption < 128).any() == (place < 2)
    assert (sheet[height + GAP :, width + GAP :] == 255).all()
