"""Domains and cameras: what light, lens, sensor and coding do to a picture.

The numbers below are set on physical grounds given in docs/synthetic.md. They
are not fitted to any result, and a change of them is a new benchmark.
"""

from __future__ import annotations

import dataclasses

from metabin_jax.data import seeding


@dataclasses.dataclass(frozen=True, slots=True)
class Style:
  """One domain's, or one camera's, picture formation.

  Attributes:
    kelvin: colour temperature of the light.
    white_balance: share of the cast that the camera removes, 0..1.
    tint: green gain in EV (negative: magenta).
    exposure: error of the exposure in EV.
    gamma: the response is light ** (1 / gamma); the display assumes 2.2.
    contrast: slope around mid grey after the response; 1 to 1.5, as the
      S-curves of cameras have it.
    saturation: factor on the distance from grey.
    haze: share of veiling light from fog, glare or a dirty dome.
    blur: standard deviation of the lens blur, pixels of a 128-pixel crop.
    snr: signal-to-noise ratio at mid grey (18 % reflectance), decibel.
    rows: height in pixels at which the sensor saw the person.
    codec: JPEG quality of the recorder that came before our file.
    ambient: share of light without direction; low in hard sun.
    falloff: change of light across the crop in EV.
    pitch: degrees that the camera looks down.
    mired_error: what the white balance is off by, reciprocal megakelvin;
      positive is towards red.
  """

  kelvin: float
  white_balance: float
  tint: float
  exposure: float
  gamma: float
  contrast: float
  saturation: float
  haze: float
  blur: float
  snr: float
  rows: int
  codec: int
  ambient: float
  falloff: float
  pitch: float
  mired_error: float = 0.0


# fmt: off
SOURCES: dict[str, Style] = {
  # kelvin, white_balance, tint, exposure, gamma, contrast, saturation, haze,
  # blur, snr, rows, codec, ambient, falloff, pitch
  "atrium": Style(
    3000, 0.70, 0.00, 0.20, 2.2, 1.15, 1.00, 0.02, 0.5, 34, 128, 85, 0.62,
    0.3, 16),
  "carpark": Style(
    4000, 0.70, 0.12, -0.60, 2.2, 1.30, 0.75, 0.01, 0.8, 27, 96, 70, 0.55,
    0.6, 18),
  "campus": Style(
    5800, 0.80, 0.00, 0.00, 2.2, 1.25, 1.20, 0.00, 0.5, 36, 128, 85, 0.50,
    0.3, 8),
  "plaza": Style(
    5200, 0.60, 0.00, 0.40, 2.4, 1.35, 1.05, 0.01, 0.6, 36, 112, 80, 0.38,
    0.4, 12),
  "station": Style(
    7500, 0.60, -0.08, -0.25, 2.0, 1.15, 0.85, 0.04, 0.8, 30, 104, 75, 0.60,
    0.5, 14),
}
TARGETS: dict[str, Style] = {
  "dusk": Style(
    16000, 0.10, 0.00, -1.00, 2.4, 1.20, 0.80, 0.02, 0.9, 20, 96, 70, 0.70,
    0.9, 10),
  "snow": Style(
    9500, 0.30, 0.00, 0.60, 2.2, 1.00, 0.85, 0.10, 0.6, 34, 112, 80, 0.75,
    0.2, 9),
  "warehouse": Style(
    2200, 0.60, 0.00, -0.40, 1.8, 1.25, 0.80, 0.03, 0.9, 26, 96, 70, 0.50,
    0.7, 22),
  "oldcctv": Style(
    4300, 0.75, 0.00, -0.10, 2.6, 1.45, 0.35, 0.06, 1.1, 24, 52, 40, 0.55,
    0.4, 20),
}
# fmt: on
DOMAINS: dict[str, Style] = {**SOURCES, **TARGETS}

# Half ranges of a camera's deviation from its domain, drawn evenly. One pair
# of real cameras was measured: 0.78 EV apart in exposure, 0.37 EV in blue
# against green (see the docs). From one gap, the likeliest half range of an
# even distribution is the gap itself.
EXPOSURE_HALF_RANGE = 0.78
# On the black-body line, 0.37 EV of blue against green are 41 mired.
MIRED_HALF_RANGE = 41.0
TINT_HALF_RANGE = 0.04


def camera_style(seed: int, domain: int, camera: int) -> Style:
  """Returns the style of one camera: its domain's, with its own deviation.

  Args:
    seed: the preset's seed.
    domain: index into `DOMAINS`.
    camera: index inside the domain.
  """
  rng = seeding.generator(seed, "synthetic/camera", domain, camera)
  base = list(DOMAINS.values())[domain]

  def around(value: float, half: float) -> float:
    return value + half * float(rng.uniform(-1, 1))

  return Style(
    kelvin=base.kelvin,
    white_balance=base.white_balance,
    mired_error=around(0.0, MIRED_HALF_RANGE),
    tint=around(base.tint, TINT_HALF_RANGE),
    exposure=around(base.exposure, EXPOSURE_HALF_RANGE),
    gamma=around(base.gamma, 0.1),
    contrast=around(base.contrast, 0.06),
    saturation=around(base.saturation, 0.10 * base.saturation),
    haze=max(0.0, around(base.haze, 0.02)),
    blur=around(base.blur, 0.25 * base.blur),
    snr=around(base.snr, 2.0),
    rows=round(around(base.rows, 0.1 * base.rows)),
    codec=round(around(base.codec, 5)),
    ambient=around(base.ambient, 0.08),
    falloff=around(base.falloff, 0.15),
    pitch=max(2.0, around(base.pitch, 6.0)),
  )
