"""Owns the Fine-tune panel."""
from .base import Panel
class TrainPanel(Panel):
    def __init__(self, path, page, onModel):
        super().__init__(path, page)
    def setDevices(self, facts):
        pass
