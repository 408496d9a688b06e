"""Owns the Models panel: the list, each model's card, import, export, delete and disk use."""

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from . import models, wording
from .background import Task
from .base import Panel, setEnabled


class ModelsPanel(Panel):
    """Calls `onChange()` when the list of models has changed."""

    def __init__(self, path: str, page, onChange: Callable[[], None]):
        super().__init__(path, page)
        self._onChange = onChange
        self._entries: list[models.Entry] = []
        ui = self.ui
        ui.modelsTable.connect("itemSelectionChanged()", self._onRow)
        ui.useButton.connect("clicked()", self._onUse)
        ui.importButton.connect("clicked()", self._onImport)
        ui.exportButton.connect("clicked()", self._onExport)
        ui.deleteButton.connect("clicked()", self._onDelete)

    def enter(self) -> None:
        """A job may have made a model meanwhile."""
        self.refresh()

    def refresh(self) -> None:
        """Read the list again; the row of the model in use is chosen."""
        entry = self.chosen()
        wanted = (
            entry.name
            if entry is not None
            else (self.parameters.model if self.parameters is not None else "")
        )
        self._entries = models.entries()
        table = self.ui.modelsTable
        table.setRowCount(len(self._entries))
        for index, entry in enumerate(self._entries):
            origin = wording.origin(entry.info.data_origin) if entry.info is not None else _("cannot be used")
            for column, text in enumerate((entry.name, origin, wording.size(_bytes(entry.folder)))):
                table.setItem(index, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()
        names = [entry.name for entry in self._entries]
        if names:
            table.selectRow(names.index(wanted) if wanted in names else 0)
        self._onRow()

    def chosen(self) -> models.Entry | None:
        """The model of the selected row."""
        items = self.ui.modelsTable.selectedItems()
        index = items[0].row() if items else -1
        return self._entries[index] if 0 <= index < len(self._entries) else None

    def _onRow(self) -> None:
        entry, ui = self.chosen(), self.ui
        ui.modelsMark.text = models.mark(entry) if entry is not None else ""
        ui.modelCard.setMarkdown(models.card(entry) if entry is not None else "")
        why = "" if entry is not None else _("Choose a model in the table first")
        broken = _("This model cannot be used") if entry is not None and entry.info is None else ""
        built_in = _("The demo model comes with the program") if entry is not None and entry.builtIn else ""
        busy = _("An import or export is on its way") if self._task is not None and self._task.active else ""
        whole = _("It reads whole scans: choose it at the end of the Segment page, under Identify PE")
        other = whole if entry is not None and entry.identifies else ""
        setEnabled(ui.useButton, why or broken or other, _("Take this model in the Segment panel"))
        setEnabled(
            ui.exportButton,
            why or broken or busy,
            _("Write this model as one .zip; it holds no patient data"),
        )
        setEnabled(ui.deleteButton, why or built_in or busy, _("Delete this model from this computer"))
        setEnabled(
            ui.importButton, busy, _("Take in a model package (.zip) from this computer or a network drive")
        )

    def _onUse(self) -> None:
        if self.parameters is not None:
            self.parameters.model = self.chosen().name
            self._onChange()
            self.ui.modelsStatus.text = _("The Segment panel takes {name} now.").format(
                name=self.chosen().name
            )

    def _onImport(self) -> None:
        kinds = _("Model packages") + " (*.zip)"
        chosen = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Import a model"), "", kinds)
        path = str(chosen[0] if isinstance(chosen, (tuple, list)) else chosen)
        if path:
            self.take(Path(path))

    def take(self, path: Path) -> None:
        """Verify a package and copy it into the store, on a thread."""
        pattern = _("Imported {name}.")
        self._start(lambda: models.store().import_(path).info.name, lambda name: pattern.format(name=name))

    def _onExport(self) -> None:
        entry, kinds = self.chosen(), _("Model packages") + " (*.zip)"
        name = f"{entry.name}.zip"
        chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Export a model"), name, kinds)
        path = str(chosen[0] if isinstance(chosen, (tuple, list)) else chosen)
        if path:
            self.give(entry, Path(path))

    def give(self, entry: models.Entry, path: Path) -> None:
        """Write a package as a .zip, on a thread; the dialog has asked about replacing."""
        pattern = _("Exported to {name}.")
        work = lambda: models.store().export(entry.name, path, overwrite=True).name  # noqa: E731
        self._start(work, lambda name: pattern.format(name=name))

    def _onDelete(self) -> None:
        entry = self.chosen()
        question = _("Delete the model {name} from this computer?").format(name=entry.name)
        if slicer.util.confirmOkCancelDisplay(question):
            self.remove(entry)

    def remove(self, entry: models.Entry) -> None:
        """Delete a model, on a thread."""
        pattern = _("Deleted {name}.")
        self._start(lambda: models.store().remove(entry.name), lambda _none: pattern.format(name=entry.name))

    def _start(self, work: Callable[[], object], sentence: Callable[[object], str]) -> None:
        self.ui.modelsStatus.text = _("Working...")

        def done(result: object) -> None:
            self.ui.modelsStatus.text = sentence(result)
            self.refresh()
            self._onChange()

        def failed(error: Exception) -> None:
            self.ui.modelsStatus.text = _("It did not work: {why}").format(why=error)
            self._onRow()

        self._task = Task(work, done, failed)
        self._onRow()


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) if folder.is_dir() else 0
