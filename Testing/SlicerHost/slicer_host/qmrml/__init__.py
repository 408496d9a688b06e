"""Stand-ins for the widgets that know the MRML scene (qMRML..., qSlicer...)."""
