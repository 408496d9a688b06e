"""Metrics, lesion matching, bootstrap, tables."""
