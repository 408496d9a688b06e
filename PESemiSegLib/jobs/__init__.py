"""Background jobs as folders: started detached, watched, cancelled and re-attached from any program.

The folder is the whole protocol (Docs/jobs.md). The watching side (`runner`, `watch` and what they use)
needs the standard library alone; only the worker opens the other rooms, through `work`.
"""
