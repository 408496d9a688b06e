"""What each kind of job does: one module per kind, each with `work(context) -> result files`."""
