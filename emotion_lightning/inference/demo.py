"""A local page on which a model is tried: a picture or the webcam in, its faces with probabilities and Grad-CAM out."""

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image, ImageDraw
from torch import Tensor

from emotion_lightning.data.images.data_uri import data_uri
from emotion_lightning.data.images.decode import MAX_BYTES, UnreadableImage, to_tensor
from emotion_lightning.data.images.typical import TypicalSize
from emotion_lightning.errors import DataError, UsageError
from emotion_lightning.evaluation.gradcam import gradcam, overlay
from emotion_lightning.inference.cropping import FaceCropper
from emotion_lightning.inference.pictures import Picture, as_picture
from emotion_lightning.inference.prediction import Box, Prediction
from emotion_lightning.inference.predictor import Predictor
from emotion_lightning.model.inputs import as_images

if TYPE_CHECKING:
    from gradio import Blocks

SHOWN = 8
"""Most faces of a picture that are shown, the largest first."""

SIDE, WHOLE = 224, 640
"""Sides in pixels of a face on the page, and of the whole picture at most."""

KEPT = 60
"""Seconds after which gradio removes what was uploaded and never answered for."""

NOT_HERE = "this picture is not among those that were uploaded, or is no longer kept: upload it again"
"""What is said of a file that is not answered for, whether or not there is one."""

FRAME = (255, 176, 0)
"""Color of the frames around faces, which skin does not have."""

TITLE = "What does this face express?"
ABOUT = """What a face expresses need not be what a person feels, and a model may be wrong.
Pictures stay on this machine and are not kept."""

CSS = """
.gradio-container { margin: 0 auto !important; max-width: 60rem !important; }
.el-examples .fixed-height { max-height: none !important; min-height: 0 !important; }
.el-examples .grid-container { grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)) !important;
  grid-template-rows: none !important; }
.el-whole { border-radius: 6px; display: block; margin: 0 auto 1rem; max-height: 22rem; max-width: 100%; }
.el-note { background: #fff4d6; border-radius: 6px; color: #5c4300; margin: 0 0 1rem; overflow-wrap: anywhere;
  padding: .6rem .9rem; }
.el-face { align-items: flex-start; border-top: 1px solid #8884; display: flex; flex-wrap: wrap; gap: 1rem;
  padding: 1rem 0; }
.el-face figure { margin: 0; width: 9rem; }
.el-face img { border-radius: 6px; display: block; height: 9rem; width: 9rem; }
.el-face figcaption { font-size: .8rem; opacity: .75; overflow-wrap: anywhere; padding-top: .25rem; }
.el-answer { flex: 1 1 16rem; min-width: 0; }
.el-label { font-size: 1.15rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
.el-answer dl { align-items: center; display: grid; gap: .3rem .75rem; grid-template-columns: minmax(3rem, auto) 1fr;
  margin: 0; }
.el-answer dt { max-width: 9rem; overflow-wrap: anywhere; }
.el-answer dd { align-items: center; display: flex; gap: .5rem; margin: 0; }
.el-bar { background: #8883; border-radius: 4px; flex: 1; height: .8rem; overflow: hidden; }
.el-bar span { background: #1f63b5; display: block; height: 100%; }
.el-answer output { font-variant-numeric: tabular-nums; text-align: right; width: 4rem; }
"""


class Demo:
    """Turns a picture into what the page shows of it, for several threads one after another.

    Args:
        predictor: The model, and what looks for faces. If it is not known how large its training images were, it is
            taken for a model of crops of its input's size.
    """

    def __init__(self, predictor: Predictor):
        size = TypicalSize(predictor.image_size, 1)
        found = predictor.cropper
        self.cropper = found if found.trained_on else FaceCropper(size, found.detect, found.model)
        self.predictor = Predictor(predictor.model, predictor.image_size, predictor.device, predictor.tta)
        self._lock = Lock()  # Grad-CAM hooks into the one model, and would see the passes of other threads
        self._template = Environment(
            loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        ).get_template("demo.html")

    def answer(self, x: Picture) -> str:
        """Return a part of a page: the faces in a picture with their answers, or why there is none."""
        try:
            picture = as_picture(x)
        except UnreadableImage as error:
            return self.refuse(f"this file cannot be read: {error.reason}")
        except DataError as error:
            return self.refuse(str(error))
        parts = self.cropper.parts(picture)
        shown = parts[:SHOWN]
        boxes = [part.box for part in shown if part.picture is not picture]
        pictures = [part.picture for part in shown]
        with self._lock:
            answers = self.predictor.predict(pictures) if pictures else ()
            heats = self._heats(pictures, answers)
        faces = [_seen(*seen) for seen in zip(pictures, answers, heats, strict=True)]
        whole = _framed(picture, boxes) if boxes or not parts else None
        taken_whole = bool(parts) and parts[0].picture is picture and self.cropper.is_photograph(picture)
        return self._render(faces=faces, others=len(parts) - len(shown), whole=whole, taken_whole=taken_whole)

    def refuse(self, reason: str) -> str:
        """Return a part of a page that says why there is no answer."""
        return self._render(error=reason)

    def _render(self, **given: Any) -> str:
        return self._template.render(
            {"error": None, "faces": [], "others": 0, "whole": None, "taken_whole": False} | given
        )

    def _heats(self, pictures: Sequence[Image.Image], answers: Sequence[Prediction]) -> list[Image.Image | None]:
        """Lay over each face what speaks for its answer; nothing where the backbone has no stage to look at."""
        model, names = self.predictor.model, self.predictor.class_names
        if any(answer.best is None for answer in answers) or not pictures:
            return [None] * len(pictures)
        pixels = torch.stack([to_tensor(picture, self.predictor.image_size) for picture in pictures])
        images = as_images(pixels.to(self.predictor.device), model.normalization)
        classes = torch.tensor([names.index(str(answer.best)) for answer in answers], device=images.device)
        try:
            heats = gradcam(model, images, classes).cpu()
        except UsageError:
            return [None] * len(pictures)
        large = F.interpolate(heats[:, None], (SIDE, SIDE), mode="bilinear")[:, 0].clamp(0, 1)
        return [_overlaid(picture, heat) for picture, heat in zip(pictures, large, strict=True)]


def page(demo: Demo, examples: Sequence[tuple[Image.Image, str]] = ()) -> "Blocks":
    """Build the page, which keeps nothing that is uploaded.

    Args:
        demo: What answers.
        examples: Pictures to click on, each with a caption.
    """
    gradio = _gradio()

    def answer(given: dict[str, Any] | None) -> tuple[None, str]:
        if given is None:
            return None, ""
        file = _uploaded(given["path"], upload.GRADIO_CACHE)
        if file is None:
            return None, demo.refuse(NOT_HERE)
        kept = gallery.keep_in_cache if gallery else ()  # an example that is uploaded again has the same path
        try:
            return None, demo.answer(file)
        finally:
            if file not in map(_resolved, kept):
                file.unlink(missing_ok=True)

    def answer_example(chosen: Any) -> str:
        return demo.answer(examples[chosen.index][0])

    answer_example.__annotations__["chosen"] = gradio.SelectData  # by which gradio knows what to give
    with gradio.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEPT, KEPT)) as blocks:
        gradio.Markdown(f"## {TITLE}\n{ABOUT}")
        upload = gradio.Image(
            label="Picture", sources=["upload", "webcam", "clipboard"], type="filepath", image_mode=None, height=240
        )
        upload.async_move_resource_to_block_cache = _unless_fetched(upload.async_move_resource_to_block_cache)
        gallery = None
        if examples:
            gradio.Markdown("Validation images, with their label:")
            gallery = gradio.Gallery(
                list(examples), show_label=False, height="auto", allow_preview=False, elem_classes="el-examples"
            )
        result = gradio.HTML()
        private = {"api_visibility": "private", "show_progress": "minimal"}
        upload.input(answer, upload, [upload, result], preprocess=False, **private)
        if gallery is not None:
            gallery.select(answer_example, None, result, **private)
    return cast("Blocks", blocks)


@contextmanager
def served(blocks: "Blocks", host: str = "127.0.0.1", port: int | None = None) -> Iterator[str]:
    """Serve a page while the block runs, and give its address: no link to share, no telemetry, no record of runs.

    Args:
        blocks: The page.
        host: Where it can be reached from: 127.0.0.1 is this machine alone, 0.0.0.0 any.
        port: By default the first free one from 7860.

    Raises:
        UsageError: The address cannot be used.
    """
    gradio = _gradio()
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none to fetch
    try:
        _, address, _ = blocks.launch(
            server_name=host, server_port=port, share=False, prevent_thread_lock=True, quiet=True, inbrowser=False,
            run_history=False, footer_links=[], enable_monitoring=False, ssr_mode=False, pwa=False, mcp_server=False,
            max_file_size=MAX_BYTES, theme=gradio.themes.Default(**fonts), css=CSS,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise UsageError(f"the page cannot be served on --host {host} --port {port or 7860}: {error}") from error
    try:
        yield address
    finally:
        blocks.close(verbose=False)


@contextmanager
def private_folder() -> Iterator[Path]:
    """Give gradio a folder of its own for what is uploaded, which is gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="emotion_lightning_demo_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ["GRADIO_TEMP_DIR"]


def _gradio() -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when it is imported, and again later
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio
    except ImportError as error:
        raise UsageError("the demo page needs gradio: pip install 'emotion_lightning[demo]'") from error
    return gradio


def _uploaded(path: str | None, folder: str) -> Path | None:
    """Return the file that a client names if it lies in the folder of uploads.

    Gradio looks only at what the client itself marks as a file: without the mark, any path comes through.
    """
    if path is None or not os.path.isfile(path):  # which no name makes raise
        return None
    file = _resolved(path)
    return file if file.is_relative_to(_resolved(folder)) else None


def _resolved(path: str) -> Path:
    return Path(path).resolve()


def _unless_fetched(keep: Callable[[str], Awaitable[str]]) -> Callable[[str], Awaitable[str]]:
    """Refuse an address in place of a file, which gradio would fetch before any function of the page is called."""

    async def checked(path: str) -> str:
        if "://" in path:
            raise _gradio().Error("addresses are not fetched: upload the picture", print_exception=False)
        return await keep(path)

    return checked


def _seen(picture: Image.Image, answer: Prediction, heat: Image.Image | None) -> dict[str, Any]:
    return {
        "picture": _data_uri(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)),
        "heat": heat and _data_uri(heat),
        "best": answer.best or answer.error,
        "uncertain": answer.uncertain,
        "bars": sorted(answer.probabilities.items(), key=lambda item: -item[1]),
    }


def _overlaid(picture: Image.Image, heat: Tensor) -> Image.Image:
    mixed = overlay(to_tensor(picture, SIDE), heat)
    return Image.fromarray(mixed.permute(1, 2, 0).contiguous().numpy())


def _framed(picture: Image.Image, boxes: Sequence[Box]) -> str:
    """Return a smaller picture with a frame around each face."""
    small = picture.copy()
    small.thumbnail((WHOLE, WHOLE))
    scale, pen = small.width / picture.width, ImageDraw.Draw(small)
    for left, top, width, height in boxes:
        corners = [scale * value for value in (left, top, left + width, top + height)]
        pen.rectangle(corners, outline=FRAME, width=3)
    return _data_uri(small)


def _data_uri(image: Image.Image) -> str:
    return data_uri(image, WHOLE, "JPEG", quality=90)
