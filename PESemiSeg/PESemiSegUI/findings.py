"""Owns the findings of one result as rows: in the scene's table node, and as CSV; verdicts included."""

import csv
import math
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

import slicer
import vtk

ACCEPTED, REJECTED, UNDECIDED = "accepted", "rejected", ""
MODEL, EDITED, DRAWN, NO_MARK = "model", "edited", "drawn", "none"
"""Whose mark it is: the model's, the model's changed by the user, the user's; or it has no voxel on the CT's grid."""
SAME_FINDING_MM = 8.0  # a finding of a new run this close to one with a verdict takes the verdict over


@dataclass(frozen=True)
class Row:
    """One finding. Positions in RAS mm, in the coordinates of the volume before its transform.

    Confidence and probability are the model's, of its own mark; NaN where the user drew it.
    """

    number: int
    segment: str  # ID in the segmentation node
    volume_mm3: float
    side: str
    confidence: float
    probability: float
    slice_first: int
    slice_last: int
    r_mm: float
    a_mm: float
    s_mm: float
    longest_axis_mm: float
    verdict: str = UNDECIDED
    mark: str = MODEL

    @property
    def position(self) -> tuple[float, float, float]:
        """Centre, RAS mm."""
        return (self.r_mm, self.a_mm, self.s_mm)


def rowsOf(findings: Iterable[dict]) -> list[Row]:
    """Rows of what a segment job wrote into findings.json; its LPS becomes RAS."""
    return [
        Row(
            number=int(item["id"]),
            segment=f"PE_{item['id']}",
            volume_mm3=float(item["volume_mm3"]),
            side=str(item["side"]),
            confidence=float(item["mean_confidence"]),
            probability=float(item["mean_probability"]),
            slice_first=int(item["slice_first"]),
            slice_last=int(item["slice_last"]),
            r_mm=-float(item["centroid_l_mm"]),
            a_mm=-float(item["centroid_p_mm"]),
            s_mm=float(item["centroid_s_mm"]),
            longest_axis_mm=float(item["longest_axis_mm"]),
            mark=MODEL if item["box_kji"] else NO_MARK,
        )
        for item in findings
    ]


def rejected(rows: list[Row]) -> set[str]:
    """The segments of rejected findings."""
    return {row.segment for row in rows if row.verdict == REJECTED}


def withVerdicts(rows: list[Row], before: list[Row]) -> list[Row]:
    """New rows with the verdicts of the nearest old ones; each old verdict is used once."""
    decided = [row for row in before if row.verdict]
    pairs = sorted(
        (math.dist(new.position, old.position), i, j)
        for i, new in enumerate(rows)
        for j, old in enumerate(decided)
    )
    result, used = list(rows), set()
    for distance_mm, i, j in pairs:
        if distance_mm > SAME_FINDING_MM:
            break
        if not result[i].verdict and j not in used:
            used.add(j)
            result[i] = replace(result[i], verdict=decided[j].verdict)
    return result


def write(table: "slicer.vtkMRMLTableNode", rows: list[Row]) -> None:
    """Put rows into a table node, one event for all."""
    blocked = table.StartModify()
    table.RemoveAllColumns()
    for item in fields(Row):
        column = _column(item.type)
        column.SetName(item.name)
        for row in rows:
            column.InsertNextValue(getattr(row, item.name))
        table.AddColumn(column)
    table.EndModify(blocked)


def read(table: "slicer.vtkMRMLTableNode | None") -> list[Row]:
    """The rows of a table node; empty for none, or for a table of something else."""
    needed = [item.name for item in fields(Row) if item.default is MISSING]
    if table is None or any(table.GetColumnIndex(name) < 0 for name in needed):
        return []
    kinds = {"int": int, "float": float, "str": str}
    columns = {item.name: table.GetColumnIndex(item.name) for item in fields(Row)}
    columns = {name: column for name, column in columns.items() if column >= 0}  # an older scene lacks some
    types = {item.name: kinds[_name(item.type)] for item in fields(Row)}
    rows = []
    for number in range(table.GetNumberOfRows()):
        cells = {name: table.GetCellText(number, column) for name, column in columns.items()}
        rows.append(Row(**{name: types[name](text) for name, text in cells.items()}))
    return rows


def setVerdict(table: "slicer.vtkMRMLTableNode", segment: str, verdict: str) -> None:
    """Note what the user says of one finding."""
    column = table.GetColumnIndex("verdict")
    for number, row in enumerate(read(table)):
        if row.segment == segment:
            table.SetCellText(number, column, verdict)


def saveCsv(rows: list[Row], path: Path) -> None:
    """The findings with their verdicts; no name, identifier or date. Raises OSError."""
    aside = path.with_name(f".{path.name}")
    with aside.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, [item.name for item in fields(Row)], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            cells = asdict(row).items()
            writer.writerow({name: "" if value != value else value for name, value in cells})  # NaN: unknown
    aside.replace(path)


def _column(kind: object) -> "vtk.vtkAbstractArray":
    return {"int": vtk.vtkIntArray, "float": vtk.vtkDoubleArray, "str": vtk.vtkStringArray}[_name(kind)]()


def _name(kind: object) -> str:
    return kind if isinstance(kind, str) else kind.__name__
