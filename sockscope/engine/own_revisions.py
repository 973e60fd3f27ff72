"""Own code as it was in a revision: its files as git has them, in a directory for the time of a run.

Only what git keeps is read: neither the user's files nor the index of their repository are touched.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile

from sockscope.core.config.reference import Reference, parse_reference
from sockscope.core.units import format_bytes
from sockscope.core.wire.octets import printable
from sockscope.engine.own_errors import here
from sockscope.errors import ConfigError

MAX_FILES_BYTES = 256 << 20
"""Most that is written out: 256 MiB."""
GIT_S = 60.0
"""How long a call of git may take."""
_directories: set[str] = set()
"""Those that have not been removed yet."""


def look_for_revision(key: str, reference: str) -> None:
    """Raise ConfigError where git, the repository, the revision, or the module in it is not there."""
    wanted = parse_reference(reference)
    if wanted.revision:
        _find(key, reference, wanted)


def _find(key: str, reference: str, wanted: Reference) -> tuple[str, str]:
    """Return the directory of the repository that had the module, and as what it is known to git."""
    commit = _commit(key, reference, wanted)
    top = _out("rev-parse", "--show-toplevel")
    path = wanted.module.replace(".", "/")
    for folder in dict.fromkeys((here(), *sys.path)):
        if os.path.isdir(folder) and os.path.join(os.path.realpath(folder), "").startswith(
            os.path.join(os.path.realpath(top), "")
        ):
            tree = _out("-C", folder, "rev-parse", "--verify", "--quiet", f"{commit}:./")
            if tree and any(_has(tree, name) for name in (f"{path}.py", path)):
                return top, tree
    why = f"there is no {path}.py in {printable(wanted.revision)} of {printable(here())}"
    raise ConfigError.of(key, reference, why)


def check_out(key: str, reference: str) -> str:
    """Write the files of the module's directory as they were in the revision that ``reference`` names.

    That is the current directory, or the first of those where Python looks for modules that had it then.

    Return the new directory that they are in, to be removed by :func:`remove`; nothing where no revision is
    named. Raises ConfigError as :func:`look_for_revision` does.
    """
    wanted = parse_reference(reference)
    if not wanted.revision:
        return ""
    top, tree = _find(key, reference, wanted)
    if (size := _size_of(tree)) > MAX_FILES_BYTES:
        size_shown, most_shown = format_bytes(size), format_bytes(MAX_FILES_BYTES)
        why = f"is in a directory of {size_shown}; at most {most_shown} are written out: put it in one below"
        raise ConfigError.of(key, reference, why)
    directory = tempfile.mkdtemp(prefix="sockscope-")
    _directories.add(directory)
    # An index of its own: that of the repository stays as it is.
    index = {"GIT_INDEX_FILE": os.path.join(directory, ".index"), "GIT_LFS_SKIP_SMUDGE": "1"}
    files = os.path.join(directory, "files", "")
    # Not from a directory below: only what is below would be written.
    for arguments in (("read-tree", tree), ("checkout-index", "-a", "-q", f"--prefix={files}")):
        done = _git("-C", top, *arguments, **index)
        if done.returncode:
            remove(directory)
            raise ConfigError.of(key, reference, f"cannot be read from git: {_first_line(done.stderr)}")
    return directory


def files_of(directory: str) -> str:
    """Return where in a directory of :func:`check_out` the files are."""
    return os.path.join(directory, "files")


def remove(directory: str) -> None:
    """Remove a directory that :func:`check_out` has made, and forget what was imported from there."""
    if not directory:
        return
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(directory + os.sep):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(directory + os.sep)]
    shutil.rmtree(directory, ignore_errors=True)
    _directories.discard(directory)


@atexit.register
def remove_all() -> None:
    """Remove what this process has not removed yet."""
    for directory in list(_directories):
        shutil.rmtree(directory, ignore_errors=True)


def _commit(key: str, reference: str, wanted: Reference) -> str:
    """Return the name of the commit; raises ConfigError where there is none."""
    shown = printable(wanted.revision)
    if shutil.which("git") is None:
        raise ConfigError.of(key, reference, f"needs git for the revision {shown}, and there is none here")
    inside = _git("rev-parse", "--is-inside-work-tree")
    if inside.returncode or inside.stdout.strip() != b"true":
        said = _first_line(inside.stderr)
        why = f"{printable(here())} is in no repository of git" if "not a git" in said or not said else said
        raise ConfigError.of(key, reference, why)
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", wanted.revision + "^{commit}")
    if found.returncode:
        raise ConfigError.of(key, reference, f"git knows no revision {shown} here")
    return found.stdout.decode().strip()


def _size_of(tree: str) -> int:
    """Return how many bytes the files of a directory have, those below included."""
    entries = _git("ls-tree", "--full-tree", "-r", "-l", "-z", tree).stdout.split(b"\0")
    sizes = (entry.split(b"\t")[0].split()[-1] for entry in entries if entry)
    return sum(int(size) for size in sizes if size.isdigit())  # a submodule has none


def _has(tree: str, name: str) -> bool:
    return not _git("cat-file", "-e", f"{tree}:{name}").returncode


def _out(*arguments: str) -> str:
    return os.fsdecode(_git(*arguments).stdout).removesuffix("\n")


def _git(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Call git in the current directory; it asks nobody for anything."""
    # Nor does it fetch what a partial clone has left where it came from.
    settings = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", **environment}
    try:
        return subprocess.run(
            ["git", *arguments],
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(arguments, 1, b"", b"git did not answer for %d s" % GIT_S)


def _first_line(text: bytes) -> str:
    return printable(next(iter(text.decode("utf-8", "replace").splitlines()), "")).removeprefix("fatal: ")
