"""The pesemiseg commands, progress bars and exit codes."""
