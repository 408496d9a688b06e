"""Starting the host, loading modules on it, and bringing it back to the start between tests."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import environment, watch

_parts: dict[str, Any] = {}
_MODULES = Path(__file__).parents[1] / "modules"  # scripted ones that the application brings along


def start() -> Any:
    """Start the application once per process and return slicer.app.

    Raises:
        RuntimeError: where packages or system libraries are missing.
    """
    if _parts:
        return _parts["app"]
    if reason := environment.why_not():
        raise RuntimeError(reason)
    environment.prepare()
    import slicer
    import slicer.util

    from . import ctk_widgets, scene
    from .qt_rules import module

    watch.install()
    module.build()
    ctk_widgets.build()
    from .application import app, io_manager, layout, main_window, modules, subject_hierarchy

    _parts.update(logic=None, testing=True)
    application = app.qSlicerApplication(_parts)
    mrml, logic, logics = scene.build(application.slicerHome, application.temporaryPath)
    _parts.update(app=application, scene=mrml, logic=logic)
    slicer.app, slicer.mrmlScene = application, mrml
    slicer.modules, slicer.moduleNames = types.ModuleType("modules"), types.SimpleNamespace()
    slicer.selfTests = {}
    slicer.__path__.append(str(Path(__file__).with_name("slicer_package")))
    _name_widgets(slicer)
    _parts.update(io=io_manager.qSlicerIOManager(), modules=modules.qSlicerModuleManager(None))
    _parts["io"]._h_parts = _parts
    scene.register_modules(_parts["modules"], logics)
    _parts["subjects"] = subject_hierarchy.SubjectHierarchy(mrml)
    import slicer.i18n
    import slicer.parameterNodeWrapper
    import slicer.ScriptedLoadableModule

    _parts["layout"] = layout.qSlicerLayoutManager()
    _parts["layout"]._h_open(mrml, logic)
    _parts["window"] = main_window.qSlicerAppMainWindow()
    _parts["window"]._h_open(_parts["modules"], _parts["layout"].viewport())
    for path in sorted(_MODULES.glob("*/*.py")):
        modules.load_scripted(_parts["modules"], path)
    watch.check()
    return application


def _name_widgets(slicer: Any) -> None:
    """Put the stand-ins under their names: slicer.qMRML..., slicer.qSlicer..., and into the .ui loader."""
    import ctk
    import qt

    from . import ui_loader
    from .application import app, layout, main_window, modules
    from .qmrml import node_combo, views, widgets

    for part in (widgets, node_combo, views, modules, main_window, layout, app):
        for name, value in vars(part).items():
            if name.startswith(("qMRML", "qSlicer")):
                setattr(slicer, name, value)
                ui_loader.CLASSES[name] = value
    ui_loader.CLASSES.update(
        {n: c for n, c in vars(ctk).items() if n.startswith("ctk") and n != "ctkSettings"}
    )
    qt.QUiLoader = ui_loader.QUiLoader


def load_module(path: Path | str) -> Any:
    """Load a scripted module's .py as at start-up: no main window yet, then startupCompleted, then setup().

    Returns the qSlicerScriptedLoadableModule.
    """
    from .application import app, modules

    with running_without_main_window():
        module = modules.load_scripted(_parts["modules"], Path(path).resolve())
    app.emit_startup_completed(_parts["app"])
    if hasattr(module._h_python, "setup"):
        module._h_python.setup()
    watch.check()
    return module


def unload_module(name: str) -> None:
    """Let a module go as at the end of the application."""
    from .application import modules

    _parts["window"].moduleSelector()._h_selected = ""
    _parts["window"]._h_leave()
    modules.unload(_parts["modules"], name)
    _parts["app"].processEvents()
    watch.check()


@contextlib.contextmanager
def running_without_main_window() -> Iterator[None]:
    """As with --no-main-window: slicer.util.mainWindow() and the layout manager are None."""
    application = _parts["app"]
    before = application._h_main_window
    application._h_main_window = False
    try:
        yield
    finally:
        application._h_main_window = before


def reset() -> None:
    """An empty scene, the four-up layout, no waiting single shots; what went unseen is kept for `check`."""
    from .qt_rules import timers

    timers.cancel_all()
    _parts["scene"].Clear(False)
    _parts["layout"].setLayout(3)
    _parts["app"].processEvents()


def picture(view: Any, columns: int = 400, rows: int = 400) -> Any:
    """A slice or 3D view (`sliceWidget("Red").sliceView()`) rendered at a size: uint8 (rows, columns, 3)."""
    view._h_open()
    view._h_view.size = (columns, rows)
    return view._h_picture()


def stop() -> None:
    """Take everything down in an order that does not crash; for the end of the process."""
    if not _parts:
        return
    for name in [n for n, m in _parts["modules"]._h_modules.items() if hasattr(m, "_h_python")]:
        unload_module(name)
    for widget in _parts["layout"]._h_widgets.values():
        picture = widget.__dict__.get("_h_picture")
        if picture is not None:
            picture._h_view.close()
    sys.modules["slicer"].mrmlScene = None
