"""The extra `cluster`: dask.distributed, which only runs on many hosts need."""

from __future__ import annotations

from importlib.util import find_spec

from loadgen.errors import HostError


def require() -> None:
    """Return if dask.distributed is installed. Raises: HostError with the command that installs it."""
    if find_spec("distributed") is None:
        raise HostError("runs on many hosts need dask.distributed; pip install 'loadgen[cluster]'")
