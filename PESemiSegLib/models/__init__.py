"""The model package (read, write, verify) and the store."""
