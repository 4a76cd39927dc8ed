"""Flags of several hosts: what they mean, and each mistake."""

from __future__ import annotations

import pytest
from absl import flags

from metabin_jax.cli import host_options
from metabin_jax.errors import UserError

ALL = ("--hosts=2", "--host_index=1", "--coordinator=10.0.0.1:1234")


def read(*words):
  values = flags.FlagValues()
  host_options.define(values)
  values(["metabin train", *words])
  return host_options.read(values)


def test_one_process_unless_told():
  assert read() is None


def test_addresses_by_hand():
  assert read(*ALL) == ("10.0.0.1:1234", 2, 1, 300)
  assert read(*ALL, "--host_timeout=5") == ("10.0.0.1:1234", 2, 1, 5)
  assert read(*ALL[:2], "--coordinator=[::1]:1234").coordinator == "[::1]:1234"


def test_the_environment_is_asked():
  assert read("--hosts=auto") == (None, None, None, 300)


@pytest.mark.parametrize(
  ("words", "said"),
  [
    (ALL[1:], "--host_index is for several hosts; add --hosts=N"),
    (("--host_timeout=5",), "--host_timeout is for several hosts"),
    ((*ALL[1:], "--hosts=auto"), "--hosts=auto asks the environment"),
    (
      (*ALL[1:], "--hosts=two"),
      "--hosts is 'two'; write a whole number from 1",
    ),
    ((*ALL[1:], "--hosts=0"), "write a whole number from 1, or auto"),
    (ALL[:2], "--hosts=2 needs --host_index=I and --coordinator="),
    (ALL[::2], "--hosts=2 needs --host_index=I and --coordinator="),
    (
      (*ALL, "--host_index=2"),
      "--host_index is 2; with --hosts=2 it is 0 to 1",
    ),
    ((*ALL, "--host_index=-1"), "--host_index is '-1'"),
    ((*ALL, "--coordinator=10.0.0.1"), "write ADDRESS:PORT"),
    ((*ALL, "--coordinator=10.0.0.1:99999"), "write ADDRESS:PORT"),
    ((*ALL, "--host_timeout=0"), "--host_timeout is '0'"),
    ((*ALL, "--host_timeout=99999999"), "a day (86400) is the longest"),
  ],
)
def test_mistakes(words, said):
  with pytest.raises(UserError) as caught:
    read(*words)
  assert said in str(caught.value)
