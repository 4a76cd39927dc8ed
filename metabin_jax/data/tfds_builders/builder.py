"""Writes a public data set as TFDS examples, one for each image file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from metabin_jax.data import tfds_metadata
from metabin_jax.data.public import counts, reading
from metabin_jax.data.public.definition import Item, PublicSet
from metabin_jax.errors import UserError

_PARTIAL = "partial"


@dataclasses.dataclass(eq=False)
class ReidConfig(tfds.core.BuilderConfig):
  """A choice of a set's own options.

  Attributes:
    options: values for keys of `PublicSet.options`; others have their default.
    allow_partial: prepare what is there, though it is not the published set.
  """

  options: Mapping[str, str] = dataclasses.field(default_factory=dict)
  allow_partial: bool = False


# The base class takes `skip_registration`, which mypy does not see.
class ReidBuilder(  # type: ignore[call-arg]
  tfds.core.GeneratorBasedBuilder, skip_registration=True
):
  """One example for each image file, junk and distractors too.

  Splits are the parts of the set, examples are in the order of their names.
  Features:

  * image: the bytes of the file, unchanged.
  * filename: path within the set, the same on every machine.
  * pid: person as the set writes it.
  * label: class number from 0, by sorted pid, of images that the set's first
    use trains on; -1 for all others.
  * camid: camera number as written, -1 if unknown.
  * domain: name of the set.
  * part, role: see `definition.Item`.
  """

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
  PUBLIC: ClassVar[PublicSet]

  def __init__(
    self,
    *,
    allow_partial: bool = False,
    licensed_copy: bool = False,
    config: str | ReidConfig | None = None,
    **others: Any,
  ):
    """Makes the builder; nothing is read yet.

    Args:
      allow_partial: prepare what is there, though it is not the published set;
        it goes into a configuration of its own, "<name>_partial".
      licensed_copy: the user has a licence of a set that was withdrawn.
      config: name of a configuration; None takes the first.
      **others: data_dir, version and file_format, as TFDS has them.
    """
    if allow_partial:
      config = self._partial_config(config)
    self._licensed_copy = licensed_copy
    super().__init__(config=config, **others)

  def _partial_config(self, config: str | ReidConfig | None) -> ReidConfig:
    # TFDS never prepares a folder again: in one folder with the published set,
    # a partial one would pass for it ever after.
    if config is None:
      config = self.get_default_builder_config()
    elif isinstance(config, str):
      config = self.get_builder_config(config) or config
    if isinstance(config, str):
      raise UserError(
        f"{self.name} has no configuration {config!r}; choose one of "
        f"{', '.join(self.builder_configs) or 'none at all'}."
      )
    options = config.options if config else {}
    name = f"{config.name}_{_PARTIAL}" if config else _PARTIAL
    return ReidConfig(
      name=name,
      description="What was there, though it is not the published set.",
      options=options,
      allow_partial=True,
    )

  def _info(self) -> tfds.core.DatasetInfo:
    public = self.PUBLIC
    return tfds.core.DatasetInfo(
      builder=self,
      description=_description(public),
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=(None, None, 3)),
          "filename": tfds.features.Text(),
          "pid": tfds.features.Text(),
          "label": np.int64,
          "camid": np.int64,
          "domain": tfds.features.Text(),
          "part": tfds.features.Text(),
          "role": tfds.features.Text(),
        }
      ),
      citation=public.citation,
      license=public.terms,
      disable_shuffling=True,
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
    """Lists the user's files and checks their number before any is read."""
    public = self.PUBLIC
    if public.withdrawn and not self._licensed_copy:
      raise UserError(
        f"{public.withdrawn} If you hold a licensed copy, make the builder "
        "with licensed_copy=True."
      )
    config = self.builder_config
    options = dict(config.options) if config else {}
    if public.withdrawn:
      options[reading.LICENSED] = "yes"
    listing = reading.list_items(public, str(dl_manager.manual_dir), options)
    counts.check_counts(
      public, listing, allow_partial=bool(config and config.allow_partial)
    )
    self.info.metadata.update(tfds_metadata.to_metadata(public, listing))
    use = reading.choose(public, {})["use"]
    labels = number_persons(reading.trained_items(listing, use))
    parts = dict.fromkeys(item.part for item in listing.items)
    return {
      part: self._generate_examples(
        [item for item in listing.items if item.part == part], labels
      )
      for part in sorted(parts)
    }

  def _generate_examples(
    self, items: Sequence[Item], labels: Mapping[str, int]
  ) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in items:
      yield (
        item.name,
        {
          "image": item.path,
          "filename": item.name,
          "pid": item.pid,
          "label": labels.get(item.name, -1),
          "camid": item.camid,
          "domain": self.PUBLIC.name,
          "part": item.part,
          "role": item.role,
        },
      )


def make_builder(public: PublicSet) -> type[ReidBuilder]:
  """Makes and registers the builder of a set.

  Args:
    public: the set.

  Returns:
    A class that `tfds.builder(tfds_name(public))` finds. If the set has options
    of its own, there is a configuration for each value of the first one; a
    `ReidConfig` chooses others.
  """
  name = tfds_name(public)
  return type(
    "".join(word.capitalize() for word in name.split("_")),
    (ReidBuilder,),
    {
      "__doc__": f"Builder of {public.title}; see `ReidBuilder`.",
      "__module__": __name__,
      "name": name,
      "PUBLIC": public,
      "BUILDER_CONFIGS": _configs(public),
      "MANUAL_DOWNLOAD_INSTRUCTIONS": _instructions(public),
    },
  )


def tfds_name(public: PublicSet) -> str:
  """Name of a set in TFDS, which wants a letter first: "reid_3dpes"."""
  name = public.name
  return name if name[0].isalpha() else f"reid_{name}"


def number_persons(trained: Sequence[Item]) -> dict[str, int]:
  """Numbers the persons of the training images.

  Args:
    trained: images.

  Returns:
    For each image name the class, from 0, by sorted pid: the order that
    `pool.create_pool` gives the records of the set alone.
  """
  pids = sorted({item.pid for item in trained})
  number = {pid: index for index, pid in enumerate(pids)}
  return {item.name: number[item.pid] for item in trained}


def _configs(public: PublicSet) -> list[ReidConfig]:
  if not public.options:
    return []
  key, values = next(iter(public.options.items()))
  return [
    ReidConfig(
      name=f"{key}_{value}" if value in ("yes", "no") else value,
      description=f"Option {key}={value}.",
      options={key: value},
    )
    for value in values
  ]


def _description(public: PublicSet) -> str:
  sentences = (f"{public.title}.", public.withdrawn, *public.notes)
  return " ".join(filter(None, sentences))


def _instructions(public: PublicSet) -> str:
  roots = " or ".join(public.roots)
  sentences = (
    f"{public.title} is not downloaded.",
    f"Request: {_sentence(public.request)}",
    f"Terms: {_sentence(public.terms)}",
    public.withdrawn,
    f"manual_dir is its folder, or one that holds it as {roots}.",
    f"Layout: {_sentence(public.layout)}",
  )
  return "\n".join(filter(None, sentences))


def _sentence(text: str) -> str:
  return text if text.endswith(".") else f"{text}."
