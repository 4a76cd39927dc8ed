"""Writes one picture that shows people of every domain.

Usage: python -m metabin_jax.data.synthetic.contact_sheet --out sheet.jpg
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from metabin_jax.data.synthetic import presets, render, style

_MARGIN = 6
_LABEL = 72


def create_contact_sheet(
  preset: presets.Preset, *, identities: int = 5, cameras: int = 3
) -> Image.Image:
  """Renders a row for each domain: some identities, each seen by all cameras.

  Args:
    preset: seed and size.
    identities: shown in each domain, from the first on.
    cameras: shown of each identity, side by side.

  Returns:
    An RGB image.
  """
  high, wide = preset.height, preset.width
  block = cameras * wide + _MARGIN
  size = (
    _LABEL + identities * block,
    len(style.DOMAINS) * (high + _MARGIN) + _MARGIN,
  )
  sheet = Image.new("RGB", size, (255, 255, 255))
  pen = ImageDraw.Draw(sheet)
  font = ImageFont.load_default(12)
  for domain, name in enumerate(style.DOMAINS):
    top = _MARGIN + domain * (high + _MARGIN)
    role = "source" if name in style.SOURCES else "target"
    pen.text((4, top + high // 2 - 16), f"{name}\n{role}", "black", font)
    for number in range(identities):
      for camera in range(cameras):
        pixels = render.render_image(preset, domain, number + 1, camera, 0)
        left = _LABEL + number * block + camera * wide
        sheet.paste(Image.fromarray(pixels), (left, top))
  return sheet


def main(arguments: list[str] | None = None) -> None:
  """Reads the command line and writes the file."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", type=Path, required=True, help="a .jpg file")
  parser.add_argument("--preset", default="quick", choices=presets.PRESETS)
  parser.add_argument("--identities", type=int, default=5)
  options = parser.parse_args(arguments)
  preset = presets.get_preset(options.preset)
  sheet = create_contact_sheet(preset, identities=options.identities)
  unfinished = options.out.with_name(f".{options.out.name}.{os.getpid()}")
  sheet.save(unfinished, "JPEG", quality=85)
  os.replace(unfinished, options.out)


if __name__ == "__main__":
  main()
