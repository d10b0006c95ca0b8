"""KServe's SDK without the parts of it that a predictor never uses.

``import kserve`` runs a package file that imports everything: the Kubernetes client, 130 API models, pandas, a model
server that reads the command line. It takes seconds and 137 MB, of a budget of 4 s and 150 MB. What a predictor needs
(``Model``, ``DataPlane``, the codecs, the generated gRPC messages) costs 11 MB. So :func:`prepare` puts the package
into ``sys.modules`` without running that file, and imports what is needed with a stand-in for pandas, of which those
modules touch one name while they are imported, in annotations.

Nobody else loses anything. Asking the package for anything else, as in ``kserve.KServeClient``, runs its file after
all; asking the stand-in for anything imports the real pandas; and ``sys.modules`` has no stand-in once :func:`prepare`
has returned. Where KServe or pandas are imported already, they are used as they are.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_PACKAGE = "kserve"
_PANDAS = "pandas"
_NEEDED = (
    "kserve.model",
    "kserve.model_repository",
    "kserve.protocol.dataplane",
    "kserve.protocol.infer_type",
    "kserve.protocol.grpc.grpc_predict_v2_pb2",
    "kserve.protocol.grpc.grpc_predict_v2_pb2_grpc",
)
_lock = threading.RLock()


def prepare() -> None:
    """Make the modules of KServe that a predictor needs importable, and import them; more than once does no harm.

    Raises:
        ModuleNotFoundError: KServe is not installed.

    """
    with _lock:
        if _PACKAGE not in sys.modules:
            sys.modules[_PACKAGE] = _light_package()
        with _pandas_stand_in():
            for name in _NEEDED:
                importlib.import_module(name)


class _LightPackage(ModuleType):
    """The package before its file has run."""

    def __getattr__(self, name: str) -> Any:
        """Return a submodule; for any other name run the package's file, once, and return what it defines."""
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if importlib.util.find_spec(f"{self.__name__}.{name}") is not None:
            return importlib.import_module(f"{self.__name__}.{name}")
        with _lock:
            if isinstance(self, _LightPackage):
                self.__class__ = ModuleType  # type: ignore[assignment]  # it is the ordinary package from here on
                self.__spec__.loader.exec_module(self)  # type: ignore[union-attr]  # module_from_spec demands both
        return getattr(self, name)


class _PandasLater(ModuleType):
    """A stand-in that becomes pandas at the first use."""

    def __getattr__(self, name: str) -> Any:
        """Return what the real pandas has by that name."""
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(_PANDAS), name)


def _light_package() -> ModuleType:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None:
        raise ModuleNotFoundError("KServe's SDK is not installed", name=_PACKAGE)
    package = importlib.util.module_from_spec(spec)
    package.__class__ = _LightPackage
    return package


@contextmanager
def _pandas_stand_in() -> Iterator[None]:
    """Let ``import pandas`` find the stand-in for a while, unless the real one is imported already."""
    if _PANDAS in sys.modules:
        yield
        return
    stand_in = _PandasLater(_PANDAS)
    stand_in.DataFrame = type("DataFrame", (), {})  # type: ignore[attr-defined]  # what annotations name
    sys.modules[_PANDAS] = stand_in
    try:
        yield
    finally:
        del stand_in.DataFrame
        if sys.modules.get(_PANDAS) is stand_in:
            del sys.modules[_PANDAS]
