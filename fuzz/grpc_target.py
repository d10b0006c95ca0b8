"""The same over gRPC: codes must say what is wrong with a call, never that the server failed."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np

from fuzz.aftermath import Aftermath
from fuzz.answers import Complaint
from fuzz.grpc_cases import SERVICE, Call, calls, messages
from fuzz.predictor_process import PredictorProcess
from fuzz.rounds import Outcome, Progress, Rounds
from fuzz.subject import Subject
from fuzz.tally import Tally

NAME = "grpc"
_TIMEOUT_SECONDS = 20.0
_LISTENING_SECONDS = 10.0
_SERVERS_FAULT = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS)
_NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_SEPARATOR = b"\n"


def run(
    server: PredictorProcess, subject: Subject, *, seconds: float, seed: int, progress: Progress, name: str = NAME
) -> Tally:
    """Fuzz for some seconds and return what came of it."""
    tally = Tally(name)
    target = GrpcTarget(server, tally)
    if not target.listens():
        tally.find("the server does not listen for gRPC", f"port {server.grpc_port}", b"")
        return tally
    Rounds(tally, seed=seed, progress=progress).run(calls(subject), target.attempt, seconds)
    target.close()
    return tally


class GrpcTarget:
    """Makes calls and judges the answers.

    Args:
        server: the server under test.
        tally: where its deaths are counted.

    """

    def __init__(self, server: PredictorProcess, tally: Tally) -> None:
        self._server = server
        self._aftermath = Aftermath(server, tally)
        self._pb = messages()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")

    def listens(self) -> bool:
        """Tell whether the server takes connections."""
        try:
            grpc.channel_ready_future(self._channel).result(_LISTENING_SECONDS)
        except grpc.FutureTimeoutError:
            return False
        return True

    def attempt(self, call: Call) -> Outcome:
        """Make one call."""
        code, detail, message = self._call(call)
        wrong = self._complaint(call, code, detail, message)
        wrong = self._aftermath.judge(wrong, hung=code is grpc.StatusCode.DEADLINE_EXCEEDED, dropped=code in _NO_ANSWER)
        if wrong is None:
            return Outcome(code.name)
        reproducer = call.method.encode() + _SEPARATOR + call.message
        return Outcome(code.name, f"{wrong.kind}, {call.method}", wrong.detail, reproducer)

    def replay(self, kept: bytes) -> str:
        """Make a kept call and return what it gets, in words."""
        method, _, message = kept.partition(_SEPARATOR)
        code, detail, answer = self._call(Call(method.decode(), message))
        return f"{code.name}: {detail} {answer[:2000]!r}; {self._server.end_of_life() or 'the server lives'}"

    def close(self) -> None:
        """Close the channel, and look a last time."""
        self._channel.close()
        self._aftermath.end()

    def _call(self, call: Call) -> tuple[grpc.StatusCode, str, bytes]:
        service = "" if "/" in call.method else f"{SERVICE}/"
        invoke: Any = self._channel.unary_unary(f"/{service}{call.method}")
        own = {name for name, _ in call.metadata}
        known = [(name.lower(), value) for name, value in self._server.credentials]
        metadata = [*call.metadata, *([] if "authorization" in own else known)]
        try:
            answer: bytes = invoke(call.message, metadata=metadata, timeout=_TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            return error.code(), error.details() or "", b""
        return grpc.StatusCode.OK, "", answer

    def _complaint(self, call: Call, code: grpc.StatusCode, detail: str, message: bytes) -> Complaint | None:
        if code in _SERVERS_FAULT:
            return Complaint(f"code {code.name}", detail)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return Complaint("no answer in time", detail)
        if code in _NO_ANSWER:
            return Complaint(f"no answer ({code.name})", detail)
        if code is not grpc.StatusCode.OK:
            if not detail:
                return Complaint(f"{code.name} says nothing", "")
            return None if call.expected is None else Complaint("a valid call is refused", f"{code.name}: {detail}")
        return self._wrong_scores(call, message) if call.expected is not None else None

    def _wrong_scores(self, call: Call, message: bytes) -> Complaint | None:
        response = self._pb.ModelInferResponse.FromString(message)
        assert call.expected is not None  # what the caller has looked at
        raw = list(response.raw_output_contents)
        names = tuple(output.name for output in response.outputs)
        if names != call.outputs or response.model_version != call.version or response.id != "i":
            return Complaint("an answer is about something else", str(response)[:500])
        for place, output in enumerate(response.outputs):
            contents = output.contents
            if output.name == "anomaly_score":
                got = np.frombuffer(raw[place], "<f8") if raw else np.array(contents.fp64_contents)
                is_right = got.tobytes() == call.expected.tobytes()
            else:
                got = np.frombuffer(raw[place], "?") if raw else np.array(contents.bool_contents)
                is_right = np.array_equal(got, call.expected < 0)
            if not is_right or list(output.shape) != [len(call.expected)]:
                return Complaint(f"{output.name} differs from the kernel's", f"{got[:5]} for {call.expected[:5]}")
        return None
