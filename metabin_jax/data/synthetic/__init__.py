"""The embedded benchmark: rendered people, five source and four target domains.

See docs/synthetic.md for what it stands for and what it cannot show.
"""

from metabin_jax.data.synthetic.dataset import ensure
from metabin_jax.data.synthetic.presets import PRESETS, Preset

__all__ = ["PRESETS", "Preset", "ensure"]
