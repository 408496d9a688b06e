"""Owns the report: one self-contained HTML page with the input check, the findings and their pictures."""

from PESemiSegLib.inference.report.page import render

__all__ = ["render"]
