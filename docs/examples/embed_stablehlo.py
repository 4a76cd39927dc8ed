"""Usage: python embed_stablehlo.py MODEL.stablehlo IMAGE IMAGE ..."""

import sys

import numpy as np
from jax import export
from PIL import Image, ImageOps

with open(sys.argv[1], "rb") as file:
  model = export.deserialize(bytearray(file.read()))
_, height, width, _ = model.in_avals[0].shape
images = []
for name in sys.argv[2:]:
  image = ImageOps.exif_transpose(Image.open(name)).convert("RGB")
  images.append(image.resize((width, height), Image.Resampling.BICUBIC))
embeddings = np.asarray(model.call(np.stack(images)))
unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
print(embeddings.shape, "cosines with the first:", unit @ unit[0])
