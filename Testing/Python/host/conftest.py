"""The Slicer host for the tests of this room: each test ends with a look for unseen failures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLE = Path(__file__).with_name("example") / "ExampleModule" / "ExampleModule.py"


@pytest.fixture
def host(started_host: Any) -> Iterator[Any]:
    """The host with an empty scene; what the application would only print fails the test."""
    started_host.reset()
    yield started_host
    started_host.reset()
    started_host.check()


@pytest.fixture
def example(host: Any) -> Iterator[Any]:
    """The example module, loaded as at start-up and let go as at the end."""
    yield host.load_module(EXAMPLE)
    host.unload_module("ExampleModule")
