"""Owns the dialog that chooses CT series from Slicer's DICOM database for a cohort."""

from collections.abc import Callable

import qt
import slicer
from slicer.i18n import tr as _

from . import dicom_database
from .background import Steps
from .dicom_database import Series


class DatabaseDialog:
    """A list that fills while one looks at it. `chosen` gets the series that the user picks, with their files."""

    def __init__(self, chosen: "Callable[[list], None]"):
        self._chosen = chosen
        self._series: list[Series] = []
        self.dialog = qt.QDialog(slicer.util.mainWindow())
        self.dialog.setWindowTitle(_("Add from Slicer's DICOM database"))
        self.dialog.resize(560, 420)
        self.note = qt.QLabel(_("CT series. Several can be chosen with Shift or Ctrl."))
        self.list = qt.QListWidget()
        self.list.setSelectionMode(qt.QAbstractItemView.ExtendedSelection)
        self.addButton = qt.QPushButton(_("Add"))
        self.addButton.enabled = False
        self.cancelButton = qt.QPushButton(_("Cancel"))
        row = qt.QHBoxLayout()
        column = qt.QVBoxLayout(self.dialog)
        for widget in (self.note, self.list):
            column.addWidget(widget)
        row.addStretch(1)
        for button in (self.addButton, self.cancelButton):
            row.addWidget(button)
        column.addLayout(row)
        self.list.connect("itemSelectionChanged()", self._onSelection)
        self.addButton.connect("clicked()", self._onAdd)
        self.cancelButton.connect("clicked()", self.dialog.reject)
        self.dialog.connect("finished(int)", self._onFinished)
        self._files: list = []
        self._steps = Steps(dicom_database.ctSeries(), self._onSeries, self._onListed, self._onFailed)

    def open(self) -> None:
        """Show it; returns at once."""
        self.dialog.open()

    def _onSeries(self, series: "Series | None") -> None:
        if series is not None:
            self._series.append(series)
            self.list.addItem(series.label)

    def _onListed(self) -> None:
        if not self._series:
            self.note.text = _("The database holds no CT series.")

    def _onFailed(self, error: Exception) -> None:
        self.note.text = _("It did not work: {why}").format(why=error)

    def _onSelection(self) -> None:
        self.addButton.enabled = bool(self.list.selectedItems())

    def _onAdd(self) -> None:
        """Ask the database for the files, series by series, then hand them over."""
        rows = sorted(self.list.row(item) for item in self.list.selectedItems())
        chosen = [self._series[row] for row in rows]
        self.addButton.enabled = False
        self._steps.forget()
        self._files = []
        self._steps = Steps(
            dicom_database.filesOf(chosen), self._files.append, self.dialog.accept, self._onFailed
        )

    def _onFinished(self, result: int) -> None:
        self._steps.forget()
        if result == int(qt.QDialog.Accepted):
            self._chosen(self._files)
