"""Usage: python embed_onnx.py MODEL.onnx IMAGE IMAGE ..."""

import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

model = onnxruntime.InferenceSession(sys.argv[1])
_, height, width, _ = model.get_inputs()[0].shape
images = []
for name in sys.argv[2:]:
  image = ImageOps.exif_transpose(Image.open(name)).convert("RGB")
  images.append(image.resize((width, height), Image.Resampling.BICUBIC))
(embeddings,) = model.run(None, {"images": np.stack(images)})
unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
print(embeddings.shape, "cosines with the first:", unit @ unit[0])
