"""The procedural CTPA cohort: anatomy, vessel trees, emboli, scanner, site styles."""
