"""Say which emotion faces show: python example.py face.jpg ... It needs onnxruntime, Pillow and numpy alone."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"))
about = session.get_modelmeta().custom_metadata_map
names, threshold = json.loads(about["class_names"]), json.loads(about["threshold"])
for path in sys.argv[1:]:
    picture = ImageOps.exif_transpose(Image.open(path))  # cameras store photographs lying down, and say so
    if picture.mode.startswith("I"):  # gray of 16 bits, which Pillow would clip to white
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture.convert("RGBA"))
    pictures = np.asarray(picture.convert("RGB"))[None]  # (1, height, width, 3), of any size
    [probabilities] = session.run(["probabilities"], {"pictures": pictures})[0].tolist()
    sure = threshold is None or max(probabilities) >= threshold["probability"]
    label = names[np.argmax(probabilities)] if sure else "uncertain"
    print(json.dumps({"path": path, "label": label, "probabilities": dict(zip(names, probabilities, strict=True))}))
