"""Owns the made-up patient among Slicer's sample data."""
def register(icon):
    pass
