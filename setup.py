"""Installs metabin_jax; `pip install .[cpu]` or one of the other extras."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent


def read_version():
  """Read as text: importing the package would need its dependencies."""
  text = (HERE / "metabin_jax" / "__init__.py").read_text(encoding="utf-8")
  return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)[1]


# The lower bounds of the numeric packages are versions that the tests have
# passed with. Only JAX has an upper bound: each of its versions removes
# something.
CORE = [
  "absl-py>=2.5",
  "flax>=0.12.8",
  "jax>=0.10.2,<0.12",
  "ml_collections>=1.1",
  "numpy>=2.4",
  "optax>=0.2.8",
  "orbax-checkpoint>=0.12.8",
  "pillow>=10.1",
  "tqdm>=4.66",
]
DATA = [
  # tensorflow-cpu has no wheels for other machines.
  "tensorflow-cpu>=2.21; "
  "platform_system == 'Linux' and platform_machine == 'x86_64'",
  "tensorflow>=2.21; "
  "platform_system != 'Linux' or platform_machine != 'x86_64'",
  "tensorflow-datasets>=4.9.10",
  "importlib_resources",  # tensorflow-datasets uses it and does not say so
  "h5py>=3.10",  # MATLAB files of version 7.3
]
PLOTS = ["matplotlib>=3.9", "scikit-learn>=1.5"]
WEIGHTS = ["huggingface_hub>=1.0", "safetensors>=0.6"]
# 2.6 is the first whose weights_only=True cannot be got round.
TORCH = ["torch>=2.6"]
ONNX = ["onnx>=1.20", "onnxruntime>=1.24"]
TEST = [
  "dill>=0.4.1",  # tfds.testing uses it and does not say so
  "faiss-cpu>=1.12",  # the search that it may do is tested with it
  "mypy>=2.4",
  "pytest>=9",
  "pytest-xdist>=3.8",
  "ruff>=0.17.5",
  "safetensors>=0.6",  # the files that conversion is tested with
]

setup(
  name="metabin_jax",
  version=read_version(),
  description="MetaBIN in JAX: re-identification for unseen cameras",
  long_description=(HERE / "README.md").read_text(encoding="utf-8"),
  long_description_content_type="text/markdown",
  license_expression="Apache-2.0",
  license_files=["LICENSE"],
  python_requires=">=3.11",
  # A bare find_packages() would install `tests` and `configs` too.
  packages=find_packages(include=["metabin_jax*"]),
  install_requires=CORE,
  extras_require={
    "cpu": ["jax[cpu]"],
    "cuda13": ["jax[cuda13]"],
    "tpu": ["jax[tpu]"],
    "data": DATA,
    "plots": PLOTS,
    "tensorboard": ["tensorboardX>=2.6.5"],
    "test": TEST,
    "torch": TORCH,
    "faiss": ["faiss-cpu>=1.12"],
    "onnx": ONNX,
    "parquet": ["pyarrow>=20"],
    "weights": WEIGHTS,
  },
  entry_points={
    "console_scripts": ["metabin = metabin_jax.cli.main:run_program"]
  },
)
