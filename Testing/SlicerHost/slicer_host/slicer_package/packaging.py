"""slicer.packaging: requirement checks by metadata; installing is refused."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement


def load_requirements(path: str | Path) -> list[Requirement]:
    """Requirements of a file; comment lines, empty lines and lines starting with '-' are left out."""
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def load_pyproject_dependencies(path: str | Path) -> list[Requirement]:
    """The dependencies that a pyproject.toml names."""
    project = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("project", {})
    return [Requirement(line) for line in project.get("dependencies", [])]


def pip_check(
    req: str | Requirement | list[str | Requirement], _seen: set[tuple[str, frozenset[str]]] | None = None
) -> bool:
    """Whether all requirements are installed in fitting versions; looks at metadata only."""
    if isinstance(req, list):
        return all(pip_check(one, _seen) for one in req)
    requirement = Requirement(req) if isinstance(req, str) else req
    if requirement.marker and not requirement.marker.evaluate():
        return True
    if requirement.extras:
        raise NotImplementedError("the host does not check extras")
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def pip_ensure(
    requirements: str | Requirement | list[str | Requirement],
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> list[str] | None:
    """Nothing while testing; otherwise only a check, and RuntimeError where something is missing."""
    import slicer

    if skip_in_testing and slicer.app.testingEnabled():
        return None
    wanted = requirements if isinstance(requirements, list) else [requirements]
    if missing := [str(one) for one in wanted if not pip_check(one)]:
        raise RuntimeError(f"the host installs nothing; missing: {', '.join(missing)}")
    return None


def pip_install(
    requirements: str | list[str],
    constraints: str | Path | None = None,
    no_deps_requirements: str | list[str] | None = None,
    skip_packages: list[str] | None = None,
    blocking: bool = True,
    show_progress: bool = True,
    requester: str | None = None,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> list[str] | None:
    """Refused."""
    raise RuntimeError(f"the host installs nothing: {requirements}")


def pip_uninstall(
    requirements: str | list[str],
    blocking: bool = True,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> None:
    """Refused."""
    raise RuntimeError(f"the host uninstalls nothing: {requirements}")


def isPipInstallInProgress() -> bool:
    """Never here."""
    return False
