"""Owns the table of findings on the screen: numbers that sort as numbers, rows found by their segment."""

from collections.abc import Callable

import qt
from slicer.i18n import tr as _

from . import wording
from .findings import ACCEPTED, DRAWN, EDITED, REJECTED, Row

_REJECTED = qt.QColor(140, 140, 140)
_NUMBER, _VOLUME, _SIDE, _CONFIDENCE, _SLICES, _VERDICT = range(6)


class FindingsTable:
    """A QTableWidget with one row per finding. `onChosen()` is called when the user goes to another row."""

    def __init__(self, widget, onChosen: Callable[[], None]):
        self._widget, self._onChosen = widget, onChosen
        self._quiet = False
        widget.horizontalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        widget.verticalHeader().setDefaultSectionSize(22)
        widget.connect("itemSelectionChanged()", self._onSelection)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self._widget.rowCount

    def fill(self, rows: list[Row]) -> None:
        """Show these findings, none chosen; the user's sorting is applied again at the end."""
        self._quiet = True
        self._widget.clearSelection()  # else it stays on a row that is now another finding, and says nothing
        self._widget.setSortingEnabled(False)  # a cell would move while its row is being filled
        self._widget.setRowCount(len(rows))
        for index, row in enumerate(rows):
            self._fillRow(index, row)
        self._widget.setSortingEnabled(True)
        self._quiet = False

    def select(self, index: int) -> None:
        """Go to a row as the table is sorted now."""
        if 0 <= index < self.count:
            self._widget.selectRow(index)

    def step(self, by: int) -> None:
        """Go on by some rows, around the ends."""
        if self.count:
            self.select((self._index() + by) % self.count if self._index() >= 0 else 0)

    def segment(self) -> str | None:
        """The segment of the chosen row."""
        items = self._widget.selectedItems()
        return items[0].data(qt.Qt.UserRole) if items else None

    def selectSegment(self, segment: str) -> None:
        """Choose a finding's row without telling."""
        self._quiet = True
        self.go(segment)
        self._quiet = False

    def go(self, segment: str) -> None:
        """Go to a finding's row."""
        segments = self._segments()
        if segment in segments:
            self.select(segments.index(segment))

    def after(self, segment: str) -> list[str]:
        """The other segments in the order of the rows as they are sorted now, from this one's on around the end."""
        segments = self._segments()
        at = segments.index(segment)
        return segments[at + 1 :] + segments[:at]

    def showVerdict(self, row: Row) -> None:
        """Bring one finding's row up to date; filling the whole table again would take ten times as long."""
        segments = self._segments()
        if row.segment not in segments:
            return
        index = segments.index(row.segment)
        items = [self._widget.item(index, column) for column in range(_VERDICT + 1)]
        self._quiet = True
        colour = qt.QBrush(_REJECTED) if row.verdict == REJECTED else None
        for item in items:
            item.setData(qt.Qt.ForegroundRole, colour)
        items[_VERDICT].setData(qt.Qt.ToolTipRole, _verdict(row))  # where the column is too narrow
        items[_VERDICT].setData(qt.Qt.DisplayRole, _verdict(row))  # last: it may move the row
        self._quiet = False

    def _segments(self) -> list[str]:
        return [self._widget.item(index, _NUMBER).data(qt.Qt.UserRole) for index in range(self.count)]

    def _index(self) -> int:
        items = self._widget.selectedItems()
        return items[0].row() if items else -1

    def _onSelection(self) -> None:
        if not self._quiet:
            self._onChosen()

    def _fillRow(self, index: int, row: Row) -> None:
        slices = (
            f"{row.slice_first}-{row.slice_last}"
            if row.slice_last > row.slice_first
            else f"{row.slice_first}"
        )
        confidence = row.confidence if row.confidence == row.confidence else None  # NaN: unknown
        cells = {
            _NUMBER: row.number,
            _VOLUME: round(row.volume_mm3, 1),
            _SIDE: wording.side(row.side),
            _CONFIDENCE: None if confidence is None else round(confidence, 2),
            _SLICES: slices,
            _VERDICT: _verdict(row),
        }
        for column, value in cells.items():
            item = qt.QTableWidgetItem()
            item.setData(qt.Qt.DisplayRole, value)
            item.setData(qt.Qt.UserRole, row.segment)
            if column == _VERDICT:
                item.setData(qt.Qt.ToolTipRole, value)
            if row.verdict == REJECTED:
                item.setForeground(qt.QBrush(_REJECTED))
            self._widget.setItem(index, column, item)


def _verdict(row: Row) -> str:
    """What the user said of a finding, and did to it."""
    said = {ACCEPTED: _("accepted"), REJECTED: _("rejected")}.get(row.verdict, "")
    done = {EDITED: _("edited"), DRAWN: _("drawn")}.get(row.mark, "")
    return ", ".join(part for part in (said, done) if part)
