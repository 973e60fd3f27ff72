"""What goes wrong where something is asked of a cluster, as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sockscope.errors import EngineError, SockscopeError

MOST_CHARS = 200
"""What is told of an error at the most: it may be another program's."""


@contextmanager
def asking(whom: str) -> Iterator[None]:
    """Let whatever is raised in asking ``whom`` be an EngineError that names it.

    dask raises what its own checks, reading and unpickling do: of a peer that is another program, or another
    version, that may be anything.
    """
    try:
        yield
    except SockscopeError:
        raise
    except (ImportError, AttributeError) as error:
        why = f"{whom} cannot run SockScope ({shown(error)}); install the same version there"
        raise EngineError(why) from None
    except (OSError, RuntimeError) as error:
        raise EngineError(f"{whom} does not answer: {shown(error)}") from None
    except Exception as error:  # noqa: BLE001  # see above
        why = f"{whom} answers as no other SockScope or dask of these versions does: {shown(error)}"
        raise EngineError(why) from None


def shown(error: Exception) -> str:
    """Return the first line of an error; the name of its type where it says nothing."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:MOST_CHARS]
