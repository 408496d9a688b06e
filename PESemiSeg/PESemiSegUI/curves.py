"""Owns the live curves of a training run, in Slicer's own plot view."""

import slicer
import vtk
from slicer.i18n import tr as _

# name in the events: (in which chart, colour)
_LOSSES = {
    "L_seg": (0.10, 0.45, 0.75),
    "L_D": (0.85, 0.40, 0.10),
    "L_D_near": (0.95, 0.65, 0.20),
    "L_adv": (0.55, 0.35, 0.70),
    "L_semi": (0.15, 0.6, 0.3),
}
_SCORES = {"dice": (0.80, 0.15, 0.25), "sensitivity": (0.25, 0.55, 0.65)}
_ITERATION = "iteration"
MOST_POINTS = 600
ATTRIBUTE = "PESemiSeg.Curves"


class Curves:
    """Keeps the figures of one run, and a chart of them in the scene once it is asked for."""

    def __init__(self) -> None:
        self._points: dict[str, list[tuple[float, float]]] = {name: [] for name in (*_LOSSES, *_SCORES)}
        self._changed = True  # a chart that is there may show another run

    def add(self, event: dict) -> None:
        """Take in one event of the trainer: a step's losses or a validation's scores."""
        known = {"step": _LOSSES, "validation": _SCORES, "lesson": _LOSSES}.get(event["kind"], {})
        values = event.get("figures") if isinstance(event.get("figures"), dict) else event
        for name in known:
            value = values.get(name)
            if isinstance(value, (int, float)):
                points = self._points[name]
                points.append((float(event.get(_ITERATION, len(points))), float(value)))
                if len(points) > 2 * MOST_POINTS:
                    del points[1::2]
                self._changed = True

    @property
    def names(self) -> list[str]:
        """The curves that have points."""
        return [name for name, points in self._points.items() if points]

    def show(self) -> None:
        """Put the chart into the layout's plot view."""
        self._changed = True
        self.refresh(create=True)
        slicer.modules.plots.logic().ShowChartInLayout(_chart())

    def refresh(self, create: bool = False) -> None:
        """Bring the scene's chart up to date, where there is one."""
        chart = _chart(create)
        if chart is None or not self._changed:
            return
        self._changed = False
        shown = set()
        for index in reversed(range(chart.GetNumberOfPlotSeriesNodes())):
            name = _name(chart.GetNthPlotSeriesNode(index))
            if name in self.names:
                shown.add(name)
            else:  # of another run
                chart.RemoveNthPlotSeriesNodeID(index)
        for name in self.names:
            series = _series(name)
            _fill(series.GetTableNode(), name, self._points[name])
            if name not in shown:
                chart.AddAndObservePlotSeriesNodeID(series.GetID())


def _name(series: "slicer.vtkMRMLPlotSeriesNode | None") -> str:
    return (series.GetAttribute(ATTRIBUTE) or "") if series is not None else ""


def _chart(create: bool = True) -> "slicer.vtkMRMLPlotChartNode | None":
    for node in slicer.util.getNodesByClass("vtkMRMLPlotChartNode"):
        if node.GetAttribute(ATTRIBUTE):
            return node
    if not create:
        return None
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", _("PESemiSeg training"))
    chart.SetSaveWithScene(False)  # the run keeps the figures
    chart.SetAttribute(ATTRIBUTE, "1")
    chart.SetTitle(_("Fine-tuning"))
    chart.SetXAxisTitle(_("iteration"))
    chart.SetYAxisTitle(_("loss, or share"))
    return chart


def _series(name: str) -> "slicer.vtkMRMLPlotSeriesNode":
    nodes = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
    series = next((node for node in nodes if _name(node) == name), None) or _newSeries(name)
    if series.GetTableNode() is None:  # new, or of a scene that was saved without its tables
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", f"PESemiSeg {name}")
        table.SetSaveWithScene(False)
        _fill(table, name, [])
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(_ITERATION)
        series.SetYColumnName(name)
    return series


def _newSeries(name: str) -> "slicer.vtkMRMLPlotSeriesNode":
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
    series.SetSaveWithScene(False)
    series.SetAttribute(ATTRIBUTE, name)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetColor(*{**_LOSSES, **_SCORES}[name])
    if name in _LOSSES:
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
    return series


def _fill(table: "slicer.vtkMRMLTableNode", name: str, points: list[tuple[float, float]]) -> None:
    columns = [vtk.vtkDoubleArray(), vtk.vtkDoubleArray()]
    for column, title, part in zip(columns, (_ITERATION, name), (0, 1), strict=True):
        column.SetName(title)
        for point in points:
            column.InsertNextValue(point[part])
    blocked = table.StartModify()
    table.RemoveAllColumns()
    for column in columns:
        table.AddColumn(column)
    table.EndModify(blocked)
