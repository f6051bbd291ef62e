"""Score images with an exported detector, without panda_core: `python score_with_onnx.py DETECTOR.onnx IMAGE...`"""

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["panda_core"])
side, short, resampling = about["side"], about["short"], Image.Resampling[about["filter"]]
for path in map(Path, sys.argv[2:]):
    image = Image.open(path)
    tags = getattr(image, "tag_v2", {258: (32 if image.mode in ("I", "F") else 8,), 262: 1})  # bits, colours, numbers
    if (*tags.get(258, ()), tags.get(262), *{*tags.get(339, (1,))}) not in ((8, 1, 1), (16, 1, 1), (8, 8, 8, 2, 1)):
        sys.exit(f"{path}: its kind of samples is not read here. Save it as PNG.")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # the highest 8 bits are kept
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    if "region_png" in about:  # a part of the picture counts, and what lies outside is painted over
        counts = Image.open(io.BytesIO(base64.b64decode(about["region_png"])))
        pairs = list(zip(*sorted((image.size, counts.size)), strict=True))
        if max((n - 1) / m for n, m in pairs) >= min((n + 1) / m for n, m in pairs):
            sys.exit(f"{path}: not in the shape of the region of interest, {counts.size} pixels.")
        paint = Image.new("RGB", image.size, tuple(about["region_paint"]))
        image = Image.composite(image.convert("RGB"), paint, counts.resize(image.size, Image.Resampling.NEAREST))
    scaled = [max(short, int(short * n / min(image.size))) if short else side for n in image.size]
    box = [(round((m - side) / 2) + end) * n / m for end in (0, side) for n, m in zip(image.size, scaled, strict=True)]
    seen = np.asarray(image.convert("RGB").resize((side, side), resampling, box))
    (score,), *maps = session.run(None, {"images": seen[None]})
    print(path, score, about["classes"][float(score) > about["threshold"]] if about["edges"] else "-", sep="\t")
    for values in maps:
        Image.fromarray(values[0]).save(f"{path.name}.map.tif")  # float32, over the whole image squeezed into a square
