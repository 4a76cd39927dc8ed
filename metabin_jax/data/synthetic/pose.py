"""Where the joints are: a walking skeleton seen by a tilted camera."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from metabin_jax.data.synthetic import people


@dataclasses.dataclass(frozen=True, slots=True)
class View:
  """How a camera sees one picture's figure.

  Attributes:
    yaw: radians; 0 faces the camera, pi shows the back.
    pitch: radians that the camera looks down.
    phase: radians of the walking cycle.
    swing: amplitude of the stride, 0 for standing still.
    scale: pixels of one nominal body height on the drawing canvas.
    centre_x: column of the body axis on the canvas.
    ground_y: row of the point between the feet on the canvas.
    lean: radians that the trunk tilts sideways in the picture.
  """

  yaw: float
  pitch: float
  phase: float
  swing: float
  scale: float
  centre_x: float
  ground_y: float
  lean: float = 0.0

  def project(self, point: np.ndarray) -> tuple[float, float, float]:
    """Maps (x, y, z) in body heights to (column, row, depth).

    x points to the figure's left hand, y up, z where it faces. Depth is
    larger nearer to the camera.
    """
    x, y, z = point
    across = x * math.cos(self.yaw) + z * math.sin(self.yaw)
    toward = z * math.cos(self.yaw) - x * math.sin(self.yaw)
    across += self.lean * y
    up = y * math.cos(self.pitch) - toward * math.sin(self.pitch)
    # A camera above is nearer to the head than to the feet.
    size = self.scale * (1 + 0.25 * math.sin(self.pitch) * (y - 0.5))
    return (
      self.centre_x + across * size,
      self.ground_y - up * size,
      toward * math.cos(self.pitch) + y * math.sin(self.pitch),
    )

  def facing(self, angle: float) -> float:
    """Cosine to the camera of the body's side at `angle` (0 = front)."""
    return math.cos(angle + self.yaw)


def place_joints(person: people.Person, view: View) -> dict[str, np.ndarray]:
  """Returns the skeleton in body heights, before projection.

  Keys: `neck`, `chin`, `crown`, `pelvis`, and `hip`, `knee`, `ankle`, `toe`,
  `shoulder`, `elbow`, `wrist`, `hand` with `0` (x < 0) or `1` appended.
  The stride is that of slow walking: hips swing 20 to 30 degrees, the knee of
  the leg that moves forward bends, arms swing against the legs.
  """
  h = person.height
  hip_y = (0.515 + person.leg) * h
  shoulder_y = 0.805 * h
  joints = {
    "pelvis": np.array([0.0, hip_y, 0.0]),
    "neck": np.array([0.0, 0.835 * h, 0.0]),
    "chin": np.array([0.0, 0.872 * h, 0.012]),
    "crown": np.array([0.0, h, 0.0]),
  }
  amplitude = 0.42 * view.swing * person.stride
  thigh, shin = 0.245 * h + person.leg * 0.5, 0.235 * h + person.leg * 0.5
  for side, sign in ((0, -1.0), (1, 1.0)):
    phase = view.phase + (math.pi if side else 0.0)
    swing = amplitude * math.sin(phase)
    bend = view.swing * 0.75 * max(0.0, math.cos(phase)) + 0.04
    hip = np.array([sign * 0.042 * person.girth, hip_y, 0.0])
    knee = hip + thigh * _down(swing + 0.35 * bend * view.swing)
    ankle = knee + shin * _down(swing + 0.35 * bend * view.swing - bend)
    pitch_foot = max(0.0, bend - 0.1) * 0.8
    toe = ankle + np.array(
      [
        sign * 0.018,
        -0.028 - 0.06 * math.sin(pitch_foot),
        0.085 * math.cos(pitch_foot),
      ]
    )
    shoulder = np.array(
      [sign * person.shoulder * 0.84, shoulder_y - 0.006, 0.0]
    )
    arm_swing = -0.75 * swing + 0.03
    spread = sign * (0.018 + 0.024 * person.girth)
    elbow = shoulder + 0.165 * h * _down(arm_swing) + [spread, 0, 0]
    flex = 0.18 + 0.5 * view.swing * max(0.0, arm_swing) + 0.1 * view.swing
    wrist = elbow + 0.14 * h * _down(arm_swing + flex)
    hand = wrist + 0.05 * h * _down(arm_swing + flex)
    for name, point in (
      ("hip", hip),
      ("knee", knee),
      ("ankle", ankle),
      ("toe", toe),
      ("shoulder", shoulder),
      ("elbow", elbow),
      ("wrist", wrist),
      ("hand", hand),
    ):
      joints[f"{name}{side}"] = point
  # The lower foot stands on the ground.
  drop = min(joints["ankle0"][1], joints["ankle1"][1]) - 0.04
  for point in joints.values():
    point[1] -= drop
  return joints


def _down(angle: float) -> np.ndarray:
  """Unit vector that hangs down, swung forward by `angle` radians."""
  return np.array([0.0, -math.cos(angle), math.sin(angle)])
