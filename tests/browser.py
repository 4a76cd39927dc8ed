"""Headless Chromium over a pipe: what a page shows, logs and asks for.

Speaks the DevTools protocol (JSON texts that end in a zero byte), since that
tells of every console message and request, and can set a phone's width, which a
window cannot.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any, NamedTuple

_FLAGS = (
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--hide-scrollbars",
  "--remote-debugging-pipe",
)
_START = (
  "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
  "os.execv(sys.argv[3], sys.argv[3:])"
)
_PATIENCE_S = 60


def find() -> str | None:
  """The browser's program; None if there is none."""
  for name in ("chromium", "chromium-browser", "google-chrome"):
    if found := shutil.which(name):
      return found
  return None


class Seen(NamedTuple):
  """What came of looking at a page.

  Attributes:
    requests: addresses that were asked for, without data: and the page itself.
    console: texts of messages, errors and exceptions.
    value: result of the script.
    screenshot: PNG of the whole page.
  """

  requests: list[str]
  console: list[str]
  value: Any
  screenshot: bytes


class Browser:
  """A browser that is open as long as the `with` block."""

  def __enter__(self) -> Browser:
    program = find()
    assert program is not None
    self._profile = tempfile.mkdtemp(prefix="metabin-browser-")
    # The browser reads from 3 and writes to 4; until then these two must be
    # none of them.
    ends = (*os.pipe(), *os.pipe())
    to_browser, self._to, self._from, from_browser = (
      fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends
    )
    for end in ends:
      os.close(end)
    passed = (to_browser, from_browser)
    self._process = subprocess.Popen(
      [
        *(sys.executable, "-c", _START, *map(str, passed), program, *_FLAGS),
        f"--user-data-dir={self._profile}",
      ],
      pass_fds=passed,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    for end in passed:
      os.close(end)
    self._rest = b""
    self._number = 0
    self._events: list[dict[str, Any]] = []
    target = self._call("Target.createTarget", url="about:blank")["targetId"]
    attached = self._call(
      "Target.attachToTarget", targetId=target, flatten=True
    )
    self._session = attached["sessionId"]
    for domain in ("Page", "Network", "Runtime", "Log"):
      self._call(f"{domain}.enable")
    return self

  def __exit__(self, *unused: object) -> None:
    self._process.kill()
    self._process.wait()
    os.close(self._to)
    os.close(self._from)
    shutil.rmtree(self._profile, ignore_errors=True)

  def look(
    self, page: pathlib.Path, width: int, script: str, *, dark: bool = False
  ) -> Seen:
    """Opens a page.

    Args:
      page: the file.
      width: of the page in pixels; below 500 a phone's.
      script: an expression that is evaluated when the page has loaded.
      dark: whether the reader prefers dark pages.
    """
    self._call(
      "Emulation.setDeviceMetricsOverride",
      width=width,
      height=844,
      deviceScaleFactor=1,
      mobile=width < 500,
    )
    scheme = "dark" if dark else "light"
    self._call(
      "Emulation.setEmulatedMedia",
      features=[{"name": "prefers-color-scheme", "value": scheme}],
    )
    self._events.clear()
    address = page.resolve().as_uri()
    self._call("Page.navigate", url=address)
    self._wait_for("Page.loadEventFired")
    value = self._call(
      "Runtime.evaluate", expression=script, returnByValue=True
    )
    assert "exceptionDetails" not in value, value
    # What the page does late, it does within this time.
    time.sleep(0.3)
    shot = self._call("Page.captureScreenshot", captureBeyondViewport=True)
    requests = [
      event["params"]["request"]["url"]
      for event in self._events
      if event["method"] == "Network.requestWillBeSent"
    ]
    return Seen(
      [u for u in requests if u != address and not u.startswith("data:")],
      [
        json.dumps(event["params"])
        for event in self._events
        if event["method"]
        in (
          "Runtime.consoleAPICalled",
          "Runtime.exceptionThrown",
          "Log.entryAdded",
        )
      ],
      value["result"].get("value"),
      base64.b64decode(shot["data"]),
    )

  def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
    self._number += 1
    message = {"id": self._number, "method": method, "params": parameters}
    if hasattr(self, "_session"):
      message["sessionId"] = self._session
    os.write(self._to, json.dumps(message).encode() + b"\0")
    while True:
      answer = self._read()
      if answer.get("id") == self._number:
        assert "error" not in answer, answer
        return answer["result"]
      self._events.append(answer)

  def _wait_for(self, event: str) -> None:
    while not any(seen.get("method") == event for seen in self._events):
      self._events.append(self._read())

  def _read(self) -> dict[str, Any]:
    while b"\0" not in self._rest:
      ready, _, _ = select.select([self._from], [], [], _PATIENCE_S)
      assert ready, "the browser does not answer"
      part = os.read(self._from, 2**20)
      assert part, "the browser has ended"
      self._rest += part
    message, _, self._rest = self._rest.partition(b"\0")
    return json.loads(message)
