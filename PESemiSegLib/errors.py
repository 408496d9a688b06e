"""The family of errors that the library raises on purpose.

Each message is one line: what is wrong, with which file, and what to do. The doors (command line, panel)
show it as it is; anything outside this family is a defect of the program.
"""


class PESemiSegError(Exception):
    """Base of all expected errors; the command line turns it into one line and exit code 2."""


class InputError(PESemiSegError):
    """An image, folder or table given by the user cannot be used as it is."""


class PackageError(PESemiSegError):
    """A model package is damaged, tampered with, of a wrong version, or not there."""


class DeviceError(PESemiSegError):
    """A device or precision that was asked for cannot be used, or its memory is too small."""


class OutputError(PESemiSegError):
    """A result cannot be written: it exists already, the disk is full, or permission is missing."""


class ConfigError(PESemiSegError):
    """A setting is out of range or contradicts another."""


class Cancelled(PESemiSegError):
    """The user asked to stop; the command line exits with code 130."""


class JobError(PESemiSegError):
    """A background job is not there, or not in a state in which it can be started, stopped or removed."""
