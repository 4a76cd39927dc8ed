"""Makes the pictures of docs/report.md.

  python docs/images/report_pictures.py PAGE

PAGE is a file of `metabin report`. Needs Chromium and the repository's tests.
"""

import io
import pathlib
import sys

from PIL import Image

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

import browser  # noqa: E402

# Name: width, height that is kept, dark.
PICTURES = {"wide": (1280, 1500, False), "phone": (390, 1900, True)}

with browser.Browser() as opened:
  for name, (width, height, dark) in PICTURES.items():
    seen = opened.look(pathlib.Path(sys.argv[1]), width, "1", dark=dark)
    picture = Image.open(io.BytesIO(seen.screenshot)).convert("RGB")
    picture.crop((0, 0, width, height)).save(
      HERE / f"report_{name}.png", optimize=True
    )
