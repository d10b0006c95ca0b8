"""100,000 rows in one request: V2 with binary tensors and in JSON, against the kernel in process on the same core."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import numpy as np

from benchmarks.configurations import EVERYTHING_OFF
from benchmarks.cores import on_core
from benchmarks.data_plane import score_request
from benchmarks.load import Target, http_request
from benchmarks.measuring import Plan, sampler, warm_up
from benchmarks.processes import predictor
from benchmarks.rounds import alternate, median_ratio
from benchmarks.subject import BATCH_ROWS, v2_binary_request, v2_body, v2_path


def run(plan: Plan) -> dict[str, float]:
    """Return rows/s, end to end and in process, and their shares."""
    subject = plan.subject
    rows = plan.folder / "rows.npy"
    np.save(rows, subject.batch)
    first = score_request(subject, EVERYTHING_OFF)
    log = plan.folder / "batches.log"
    with predictor(subject, EVERYTHING_OFF, cores=plan.cores, log=log, first=first) as server:
        binary = Target(server.port, v2_binary_request(v2_path(), subject.batch))
        text = Target(server.port, http_request(v2_path(), v2_body(subject, subject.batch)))
        warm_up(plan, binary, text, connections=1)
        by_binary = sampler(plan, server, binary, 1)
        by_json = sampler(plan, server, text, 1)

        def in_process() -> float:
            command = [sys.executable, "-m", "benchmarks.in_process", str(subject.store), str(rows), str(plan.seconds)]
            with on_core(plan.cores.server):
                return float(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))

        contenders = {
            "v2_binary": lambda: by_binary().rps * BATCH_ROWS,
            "v2_json": lambda: by_json().rps * BATCH_ROWS,
            "in_process": in_process,
        }
        got = alternate(contenders, plan.rounds, plan.say, tell=lambda rate: f"{rate:,.0f} rows/s")
    medians = {f"{name}_100k_rows_per_s": statistics.median(rates) for name, rates in got.items()}
    return {
        **medians,
        "v2_binary_share_of_kernel": median_ratio(got["v2_binary"], got["in_process"]),
        "v2_json_share_of_binary": median_ratio(got["v2_json"], got["v2_binary"]),
    }
