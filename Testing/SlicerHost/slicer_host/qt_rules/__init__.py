"""PySide6 held to PythonQt's rules: what it refuses, or might refuse, is refused."""
