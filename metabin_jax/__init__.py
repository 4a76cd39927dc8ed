"""MetaBIN in JAX: re-identification that generalizes to unseen cameras."""

__version__ = "0.1.0"
