"""A convolution made of matrix products, for float64 tests on the CPU.

XLA's CPU back end has no fast float64 convolution (a ResNet-18 step on 20
small images takes half a minute) but a fast float64 matrix product.
`convolution_test.py` shows that the library's two forms agree in values and in
first and second derivatives.
"""

from __future__ import annotations

import functools

from metabin_jax.ops import convolution

conv_by_products = functools.partial(convolution.conv, form="product")
