"""What a user of tritonclient.grpc does, as a program: the server's address in, what it was told out as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np
import tritonclient.grpc as triton


def _code(call: Callable[[], object]) -> str:
    try:
        call()
    except triton.InferenceServerException as error:
        return str(error.status())
    return "none"


def main() -> None:
    client = triton.InferenceServerClient(sys.argv[1])
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("default")
    assert not client.is_model_ready("default", "20200101000000")
    tensor = triton.InferInput("features", [2, 3], "FP64")
    tensor.set_data_from_numpy(np.array([[2.0, 3.0, 4.0], [0.0, 3.0, 4.0]]))
    answer = client.infer("default", [tensor], model_version="20240101000000", request_id="7")
    told = {
        "versions": list(client.get_model_metadata("default").versions),
        "scores": answer.as_numpy("anomaly_score").tolist(),
        "flags": answer.as_numpy("is_anomaly").tolist(),
        "version": answer.get_response().model_version,
        "unknown": _code(lambda: client.infer("nothing", [tensor])),
        "load": _code(lambda: client.load_model("default")),
    }
    client.close()
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
