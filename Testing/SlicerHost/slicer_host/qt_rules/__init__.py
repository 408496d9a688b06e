"""PySide6 held to PythonQt's rules: what PythonQt does is done, what it refuses (or might refuse) is refused."""
