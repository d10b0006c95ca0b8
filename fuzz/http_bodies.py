"""Scoring requests over HTTP, valid and damaged: answers must be the kernel's bit for bit, or say what is wrong.

Some come in odd pieces, and some behind one another without waiting: neither may change what is answered.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from hypothesis import strategies as st

from fuzz.aftermath import Aftermath
from fuzz.answers import Complaint, check, check_any
from fuzz.cases import Case, cases
from fuzz.damage import damaged
from fuzz.http_exchange import Answered, Client, Dropped, Hung, http_request
from fuzz.predictor_process import PredictorProcess
from fuzz.rounds import Outcome, Progress, Rounds
from fuzz.subject import Subject
from fuzz.tally import Tally

NAME = "http-bodies"
_HANG_SECONDS = 20.0
_TIMES_IN_A_ROW = st.sampled_from((1,) * 8 + (2, 3))
_CUTS = st.just(()) | st.lists(st.floats(0, 1), max_size=3).map(tuple)


@dataclass(frozen=True)
class Sending:
    """Requests that are sent behind one another, and where their bytes are cut, as shares of the whole."""

    cases: tuple[Case, ...]
    cuts: tuple[float, ...] = ()


def run(
    server: PredictorProcess, subject: Subject, *, seconds: float, seed: int, progress: Progress, name: str = NAME
) -> Tally:
    """Fuzz for some seconds and return what came of it."""
    tally = Tally(name)
    target = HttpTarget(server, tally)
    Rounds(tally, seed=seed, progress=progress).run(sendings(subject), target.attempt, seconds)
    target.end()
    return tally


@st.composite
def sendings(draw: st.DrawFn, subject: Subject) -> Sending:
    """Draw requests; a third stay valid, since those are the ones whose scores can be told."""
    valid = cases(subject)
    any_case = valid | valid.flatmap(damaged) | valid.flatmap(damaged)
    times = draw(_TIMES_IN_A_ROW)
    return Sending(tuple(draw(any_case) for _ in range(times)), draw(_CUTS))


class HttpTarget:
    """Sends requests and judges the answers; a server that dies is noted and started again.

    Args:
        server: the server under test.
        tally: where deaths are counted.
        hang_seconds: how long an answer may take.

    """

    def __init__(self, server: PredictorProcess, tally: Tally, *, hang_seconds: float = _HANG_SECONDS) -> None:
        self._server = server
        self._aftermath = Aftermath(server, tally)
        self._client = Client(server.port, timeout=hang_seconds)

    def attempt(self, sending: Sending) -> Outcome:
        """Send what was drawn."""
        requests = [
            http_request("POST", case.path, [*self._server.credentials, *case.headers], case.body)
            for case in sending.cases
        ]
        data = b"".join(requests)
        try:
            answers = self._client.exchange_all(_cut(data, sending.cuts), ["POST"] * len(requests))
        except Dropped as drop:
            self._client.close()
            return self._dropped(sending, drop, data)
        wrong = None
        for case, answer in zip(sending.cases, answers, strict=False):  # what came behind the last one was not read
            wrong = wrong or _complaint(case, answer)
        wrong = self._aftermath.judge(wrong)
        answer_class = f"{max(answer.status for answer in answers) // 100}xx"
        if wrong is None:
            return Outcome(answer_class)
        cut = f"; sent in pieces cut at {sending.cuts}" if sending.cuts else ""
        paths = ", ".join(case.path for case in sending.cases)
        return Outcome(answer_class, wrong.kind, f"{paths}{cut}\n{wrong.detail}", data)

    def end(self) -> None:
        """Look a last time."""
        self._client.close()
        self._aftermath.end()

    def replay(self, request: bytes) -> str:
        """Send what was kept and return what it gets, in words."""
        method, path = (part.decode("latin-1") for part in request.split(b" ", 2)[:2])
        try:
            answer = self._client.exchange(request, method=method)
        except Dropped as drop:
            return f"no answer: {drop}; {self._server.end_of_life_soon() or 'the server lives'}"
        finally:
            self._client.close()
        wrong = check_any(path, answer, method=method)
        return f"{answer.status} {answer.body[:2000]!r}\n{wrong.kind if wrong else 'as it must be, but for its scores'}"

    def _dropped(self, sending: Sending, drop: Dropped, data: bytes) -> Outcome:
        forms = "+".join(sorted({case.form for case in sending.cases}))
        kind = "no answer in time" if isinstance(drop, Hung) else "a connection ends without an answer"
        wrong = self._aftermath.judge(Complaint(kind, str(drop)), hung=isinstance(drop, Hung), dropped=True)
        assert wrong is not None
        return Outcome("none", f"{wrong.kind}, {forms}", wrong.detail, data)


def _complaint(case: Case, answer: Answered) -> Complaint | None:
    wrong = check(case, answer)
    return None if wrong is None else Complaint(f"{wrong.kind}, {case.form}", wrong.detail)


def _cut(data: bytes, cuts: tuple[float, ...]) -> list[bytes]:
    places = [0, *sorted(round(cut * len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(places) if start < end]
