"""What the figures were taken on, gathered without importing what it names."""

from __future__ import annotations

import platform
from importlib import metadata

from sockscope import __version__
from sockscope.engine.host_limits import usable_cores

_PYTHON_CLASSIFIER = "Programming Language :: Python :: "


def environment() -> dict[str, object]:
    """Return versions, kernel and cores; a package that is not installed is None."""
    return {
        "sockscope": __version__,
        "python": platform.python_version(),
        "uvloop": version_of("uvloop"),
        "textual": version_of("textual"),
        "platform": f"{platform.system()} {platform.machine()}",
        "kernel": platform.release(),
        "cores": usable_cores(),
    }


def version_of(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def supported_pythons() -> list[str]:
    """Return the versions of Python that the installed package names (``3.14``), in ascending order."""
    try:
        classifiers = metadata.metadata("sockscope").get_all("Classifier") or []
    except metadata.PackageNotFoundError:
        return []
    versions = [line.removeprefix(_PYTHON_CLASSIFIER) for line in classifiers if _PYTHON_CLASSIFIER in line]
    return [version for version in versions if version[:1].isdigit() and "." in version]
