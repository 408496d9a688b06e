"""Owns the panels together: makes them, hands the scene's state on, and lets one tell another."""

from pathlib import Path

import slicer

from .cohort_panel import CohortPanel
from .environment_panel import EnvironmentPanel
from .identify_panel import IdentifyPanel
from .models_panel import ModelsPanel
from .review_panel import ReviewPanel
from .segment_panel import SegmentPanel
from .train_panel import TrainPanel

SEGMENT, REVIEW, TRAIN, MODELS, ENVIRONMENT = range(5)


class Shell:
    """The module's widget.

    Args:
        resource: full path of a file under Resources. layout: where the widget goes.
    """

    def __init__(self, resource, layout):
        self.widget = slicer.util.loadUI(resource("UI/PESemiSeg.ui"))
        layout.addWidget(self.widget)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        self.segment = SegmentPanel(resource("UI/Segment.ui"), self.ui.segmentPage, self._onFinished)
        self.identify = IdentifyPanel(resource("UI/Identify.ui"), self.ui.segmentPage)
        self.review = ReviewPanel(resource("UI/Review.ui"), self.ui.reviewPage, self._onReviewed)
        self.cohort = CohortPanel(resource("UI/Cohort.ui"), self.ui.trainPage, self._onCohort)
        self.train = TrainPanel(resource("UI/Train.ui"), self.ui.trainPage, self.cohort, self._onModel)
        self.models = ModelsPanel(resource("UI/Models.ui"), self.ui.modelsPage, self._onModels)
        self.environment = EnvironmentPanel(
            resource("UI/Environment.ui"),
            self.ui.environmentPage,
            self._onProbe,
            resource("requirements.txt"),
            resource("requirements-training.txt"),
            self.cohort.paths,
        )
        self.panels = (
            *(self.segment, self.identify, self.review, self.cohort, self.train),
            *(self.models, self.environment),
        )

    def bind(self, parameters) -> None:
        """A scene begins."""
        for panel in self.panels:
            panel.bind(parameters)

    def sceneClosing(self) -> None:
        """The scene goes: so does a run on one of its volumes. Training goes on."""
        self.segment.sceneClosing()
        self.identify.sceneClosing()
        for panel in self.panels:
            panel.unbind()

    def enter(self) -> None:
        """The module comes to the front."""
        for panel in self.panels:
            panel.enter()

    def exit(self) -> None:
        """The module goes to the back."""
        for panel in self.panels:
            panel.exit()

    def cleanup(self) -> None:
        """The module goes."""
        for panel in self.panels:
            panel.cleanup()

    def showPage(self, page: int) -> None:
        """Bring a panel to the front."""
        self.ui.tabs.setCurrentIndex(page)

    def _onFinished(self, segmentation) -> None:
        self.review.showResult(segmentation)
        self.showPage(REVIEW)

    def _onReviewed(self, folder: Path) -> None:
        """A reviewed scan with its mask: a labelled patient."""
        self.cohort.addReviewed(folder)

    def _onModel(self, name: str) -> None:
        """A model was chosen elsewhere."""
        self.models.refresh()
        self.segment.chooseModel(name)
        self.showPage(SEGMENT)

    def _onCohort(self) -> None:
        """The cohort has changed."""
        train = getattr(self, "train", None)  # the cohort comes first
        if train is not None:
            train.refresh()

    def _onModels(self) -> None:
        """The list of models has changed."""
        self.segment.refresh()
        self.identify.refresh()
        self.train.refresh()

    def _onProbe(self, facts: dict) -> None:
        """This computer was looked at."""
        self.segment.setDevices(facts)
        self.identify.setDevices(facts)
        self.train.setDevices(facts)
