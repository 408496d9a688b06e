"""slicer.testing: run the unit tests of a module by name."""

from __future__ import annotations

import importlib
import sys
import unittest


def exitSuccess() -> None:
    """Refused: a test must not end the application."""
    raise RuntimeError("slicer.testing.exitSuccess in the host")


def exitFailure(message: str = "") -> None:
    """Refused: a test must not end the application."""
    raise RuntimeError(f"slicer.testing.exitFailure in the host: {message}")


def runUnitTest(path: list[str], testname: str) -> None:
    """Run `Module.Class` (each test_* with setUp); AssertionError where the application ends with 1."""
    sys.path[:0] = [p for p in path if p not in sys.path]
    module_name, _, class_name = testname.partition(".")
    module = importlib.import_module(module_name)
    loader = unittest.TestLoader()
    if class_name:
        suite = loader.loadTestsFromTestCase(getattr(module, class_name))
    else:
        suite = loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    if not result.wasSuccessful():
        raise AssertionError("\n".join(trace for _, trace in [*result.failures, *result.errors]))
