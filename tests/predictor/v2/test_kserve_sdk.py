"""KServe's SDK without what a predictor never uses, and nobody else the poorer. Each test is a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

_RSS = """
def rss_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1000
"""


def _run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc, which Linux alone has")
def test_it_costs_a_few_megabytes_and_no_pandas_nor_kubernetes() -> None:
    _run(
        _RSS
        + """
import sys
import fastapi, grpc, numpy
before = rss_mb()
from predictor.v2 import kserve_sdk
kserve_sdk.prepare()
from predictor.v2.kserve_model import TelltaleModel
assert not {"pandas", "kubernetes", "kserve.model_server", "kserve.api"} & set(sys.modules), sys.modules.keys()
assert rss_mb() - before < 30, rss_mb() - before
"""
    )


def test_pandas_is_the_real_one_afterwards_for_everyone() -> None:
    _run(
        """
from predictor.v2 import kserve_sdk
kserve_sdk.prepare()
import pandas
assert pandas.DataFrame({"a": [1]}).shape == (1, 1)
from kserve.protocol.infer_type import InferInput, InferRequest
frame = InferRequest("m", [InferInput("a", [2], "FP64", data=[1.0, 2.0])]).as_dataframe()
assert isinstance(frame, pandas.DataFrame) and frame["a"].tolist() == [1.0, 2.0]
"""
    )


def test_the_whole_of_kserve_comes_when_it_is_asked_for() -> None:
    _run(
        """
from predictor.v2 import kserve_sdk
kserve_sdk.prepare()
import kserve
from kserve.model import Model
assert kserve.Model is Model
from kserve import KServeClient, V1beta1InferenceService, constants
assert V1beta1InferenceService.__module__.startswith("kserve.models")
kserve_sdk.prepare()
assert kserve.KServeClient is KServeClient
try:
    kserve.NothingOfThisName
except AttributeError as error:
    assert "NothingOfThisName" in str(error)
else:
    raise AssertionError
"""
    )


def test_submodules_do_not_bring_the_whole() -> None:
    _run(
        """
import sys
from predictor.v2 import kserve_sdk
kserve_sdk.prepare()
from kserve import errors, model
import kserve.constants
assert errors.InvalidInput and model.Model and kserve.constants
assert not hasattr(kserve, "__all__")
assert "kubernetes" not in sys.modules
"""
    )


def test_what_is_imported_already_is_used_as_it_is() -> None:
    _run(
        """
import sys
import kserve, pandas
from predictor.v2 import kserve_sdk
kserve_sdk.prepare()
assert sys.modules["kserve"] is kserve and sys.modules["pandas"] is pandas
from predictor.v2.kserve_model import TelltaleModel
assert issubclass(TelltaleModel, kserve.Model)
"""
    )
