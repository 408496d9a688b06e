"""segment(volume, package) -> Result: engines, lung box and filter, findings, input check, reports."""
