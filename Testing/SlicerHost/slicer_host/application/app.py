"""slicer.app: the properties and methods a module may use; anything else is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from ..ctk_widgets.paths import ctkSettings
from ..qt_rules import signals
from ..qt_rules.settings import QSettings
from ..qt_rules.stand_in import computed, stand_in
from .modal import watch_modal_dialogs

VERSION = (5, 12)


@stand_in
class qSlicerCommandOptions(QtCore.QObject):
    """The command line, as if Slicer had been started with --testing --no-splash."""

    noMainWindow = computed("bool", lambda _: False)
    noSplash = computed("bool", lambda _: True)
    unparsedArguments = computed("QStringList", lambda _: [])


@stand_in
class qSlicerApplication(QtWidgets.QApplication):
    """The application object."""

    _h_signals = ("startupCompleted()", "mrmlSceneChanged(vtkMRMLScene*)")  # aboutToQuit() is Qt's own

    def __init__(self, parts: dict[str, Any]) -> None:
        QtWidgets.QApplication.__init__(self, ["Slicer"])
        self._h_parts, self._h_home = parts, Path(tempfile.mkdtemp(prefix="slicer-host-"))
        self._h_main_window, self._h_render_pauses = True, 0
        self.applicationName = "Slicer-tmp"
        self.organizationName = ""
        self.applicationVersion = f"{VERSION[0]}.{VERSION[1]}.0-host"
        for folder in ("temporary", "cache", "extensions"):
            (self._h_home / folder).mkdir()
        QSettings.setDefaultFormat(QSettings.Format.IniFormat)
        scope = QSettings.Scope.UserScope
        QSettings.setPath(QSettings.Format.IniFormat, scope, str(self._h_home))
        self.setStyle("Fusion")
        watch_modal_dialogs()

    mainApplicationName = computed("QString", lambda _: "Slicer")
    majorVersion = computed("int", lambda _: VERSION[0])
    minorVersion = computed("int", lambda _: VERSION[1])
    revision = computed("QString", lambda _: "host")
    repositoryRevision = computed("QString", lambda _: "host")
    temporaryPath = computed("QString", lambda self: str(self._h_home / "temporary"))
    cachePath = computed("QString", lambda self: str(self._h_home / "cache"))
    slicerHome = computed("QString", lambda self: str(self._h_home))
    extensionsInstallPath = computed("QString", lambda self: str(self._h_home / "extensions"))
    startupWorkingPath = computed("QString", lambda self: str(self._h_home))
    defaultScenePath = computed("QString", lambda self: str(self._h_home))
    slicerUserSettingsFilePath = computed("QString", lambda self: QSettings().fileName())

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._h_parts["scene"]

    def applicationLogic(self) -> Any:
        """The vtkSlicerApplicationLogic."""
        return self._h_parts["logic"]

    def layoutManager(self) -> Any:
        """The layout manager; None without a main window."""
        return self._h_parts["layout"] if self._h_main_window else None

    def coreIOManager(self) -> Any:
        """Reading and writing of nodes."""
        return self._h_parts["io"]

    def moduleManager(self) -> Any:
        """The modules."""
        return self._h_parts["modules"]

    def testingEnabled(self) -> bool:
        """Dialogs of slicer.util answer by themselves."""
        return self._h_parts.get("testing", True)

    def commandOptions(self) -> qSlicerCommandOptions:
        """The command line."""
        return qSlicerCommandOptions(None)

    def userSettings(self) -> ctkSettings:
        """The user's settings: one file in a temporary folder."""
        return ctkSettings()

    settings = userSettings

    def revisionUserSettings(self) -> QSettings:
        """Settings of one revision of the application."""
        return QSettings(str(self._h_home / "revision.ini"), QSettings.Format.IniFormat)

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        """The environment the application was started from."""
        return QtCore.QProcessEnvironment.systemEnvironment()

    def processEvents(self, *flags: Any) -> None:
        """Handle what waits, deferred deletions included."""
        QtCore.QCoreApplication.processEvents(*flags)
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)

    def pauseRender(self) -> None:
        """Views keep their pictures until as many `resumeRender`."""
        self._h_render_pauses += 1

    def resumeRender(self) -> None:
        """Undo one `pauseRender`."""
        self._h_render_pauses = max(0, self._h_render_pauses - 1)

    def isRenderPaused(self) -> bool:
        """Whether views are paused."""
        return self._h_render_pauses > 0

    def topLevelWidgets(self) -> list[QtWidgets.QWidget]:
        """Windows; the main window only where there is one."""
        hidden = () if self._h_main_window else ("qSlicerMainWindow",)
        return [w for w in QtWidgets.QApplication.topLevelWidgets() if w.objectName not in hidden]

    def palette(self) -> QtGui.QPalette:
        """The application's palette."""
        return QtWidgets.QApplication.palette()

    def exit(self, status: int = 0) -> None:
        """A test must not end the application."""
        raise RuntimeError(f"slicer.app.exit({status}) in a test")


def emit_startup_completed(app: qSlicerApplication) -> None:
    """Tell modules, once, that start-up is over."""
    signals.emit(app, "startupCompleted()")
    app.__dict__.get("_h_slots", {}).pop("startupCompleted()", None)
