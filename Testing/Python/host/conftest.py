"""The Slicer host for the tests of this room: each test ends with a look for unseen failures."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
EXAMPLE = Path(__file__).with_name("example") / "ExampleModule" / "ExampleModule.py"
sys.path.insert(0, str(REPOSITORY / "Testing" / "SlicerHost"))


@pytest.fixture(scope="session")
def started_host() -> Iterator[Any]:
    """The running host; skips, saying why, where it cannot run."""
    import slicer_host

    if reason := slicer_host.why_not():
        pytest.skip(reason)
    slicer_host.start()
    yield slicer_host
    slicer_host.stop()


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


@pytest.hookimpl(wrapper=True, trylast=True)  # innermost: inside pytest's own capture
def pytest_runtest_call(item: pytest.Item) -> Any:
    """Around the test itself: stdout without a file, PythonSlicer as sys.executable."""
    if "host" not in getattr(item, "fixturenames", ()):
        return (yield)
    import slicer
    from slicer_host.console import as_in_application

    with as_in_application(Path(slicer.app.slicerHome)):
        return (yield)
