"""The public data sets that can be read by name."""

from __future__ import annotations

from metabin_jax.data.public.caviar import CAVIAR
from metabin_jax.data.public.cuhk01 import CUHK01
from metabin_jax.data.public.cuhk02 import CUHK02
from metabin_jax.data.public.cuhk03 import CUHK03
from metabin_jax.data.public.cuhk_sysu import CUHK_SYSU
from metabin_jax.data.public.definition import PublicSet
from metabin_jax.data.public.dukemtmc import DUKEMTMC
from metabin_jax.data.public.grid import GRID
from metabin_jax.data.public.ilids import ILIDS
from metabin_jax.data.public.market1501 import MARKET1501
from metabin_jax.data.public.msmt17 import MSMT17
from metabin_jax.data.public.pku_reid import PKU_REID
from metabin_jax.data.public.prid import PRID
from metabin_jax.data.public.threedpes import THREEDPES
from metabin_jax.data.public.viper import VIPER

_SETS: tuple[PublicSet, ...] = (
  # The sources and targets of the benchmark, then the others.
  CUHK02,
  CUHK03,
  MARKET1501,
  DUKEMTMC,
  CUHK_SYSU,
  VIPER,
  PRID,
  GRID,
  ILIDS,
  MSMT17,
  CUHK01,
  CAVIAR,
  THREEDPES,
  PKU_REID,
)

PUBLIC_SETS: dict[str, PublicSet] = {known.name: known for known in _SETS}
