"""Owns one run of Identify PE: what the job leaves is read on a thread and becomes nodes in steps."""

from PESemiSegLib.jobs.folder import Job

from . import identified
from .background import Task
from .scan_run import FINISHED, News, ScanRun


class IdentifyRun(ScanRun):
    """The last News hold the segmentation, with the map beside it; see `identified`."""

    JOB = "identify"

    def _bring(self, job: Job) -> None:
        def show(found: identified.Found) -> None:
            if self._stillThere():
                self._take(identified.showSteps(self.volume, job.id, found), self._onShown)

        self._task = Task(lambda: identified.load(job.folder), show, self._onTaskFailed)

    def _onShown(self) -> None:
        self._finish(News(FINISHED, sentences=self._sentences, segmentation=self._node))
