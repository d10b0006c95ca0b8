from __future__ import annotations

import json

import httpx2 as httpx
import pytest

from registry.errors import (
    AlreadyThere,
    Conflict,
    KubernetesError,
    KubernetesForbidden,
    KubernetesUnavailable,
    NotLeading,
    NotThere,
    Refused,
)
from registry.kubernetes.api import KubernetesApi
from registry.kubernetes.resources import LEASES, SERVED_MODELS, SERVICES, Manifest
from registry.kubernetes.writes import Write, deleting, fenced, writing

CARS: Manifest = {"kind": "ServedModel", "metadata": {"name": "cars", "namespace": "fleet", "uid": "u"}, "spec": {}}


class Server:
    """Answers with what a test sets, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.calls: list[tuple[str, str, int]] = []
        client = httpx.Client(base_url="https://cluster", transport=httpx.MockTransport(self._answer))
        self.api = KubernetesApi(client, lambda verb, kind, code, _: self.calls.append((verb, kind, code)))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def status(code: int, reason: str = "", **headers: str) -> httpx.Response:
    return httpx.Response(code, json={"kind": "Status", "reason": reason, "message": "because"}, headers=headers)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(409, "Conflict"), Conflict),
        (status(409, "AlreadyExists"), AlreadyThere),
        (status(404, "NotFound"), NotThere),
        (status(401), KubernetesForbidden),
        (status(403), KubernetesForbidden),
        (status(422, "Invalid"), Refused),
        (status(400), Refused),
        (status(410, "Expired"), KubernetesUnavailable),
        (status(429), KubernetesUnavailable),
        (status(500), KubernetesUnavailable),
        (status(504), KubernetesUnavailable),
        (httpx.Response(200, text="<html>"), KubernetesUnavailable),
        (httpx.Response(200, json=[]), KubernetesUnavailable),
        (httpx.ConnectError("refused"), KubernetesUnavailable),
        (httpx.ReadTimeout("slow"), KubernetesUnavailable),
        (httpx.RemoteProtocolError("reset"), KubernetesUnavailable),
    ],
)
def test_each_failure_is_one_of_our_errors(answer: httpx.Response | Exception, error: type[KubernetesError]) -> None:
    with pytest.raises(error) as caught:
        Server(answer).api.write(writing("create", SERVED_MODELS, CARS))
    assert type(caught.value) is error


def test_a_server_that_says_how_long_to_wait_is_heard() -> None:
    with pytest.raises(KubernetesUnavailable) as caught:
        Server(status(429, **{"Retry-After": "7"})).api.get(SERVED_MODELS, "fleet", "cars")
    assert caught.value.retry_after == 7


def test_an_object_that_is_not_there_is_none() -> None:
    assert Server(status(404)).api.get(SERVED_MODELS, "fleet", "cars") is None


def test_a_list_goes_on_until_the_last_page() -> None:
    pages = [{"items": [{"n": 1}], "metadata": {"continue": "more"}}, {"items": [{"n": 2}], "metadata": {}}]
    server = Server(*(httpx.Response(200, json=page) for page in pages))
    assert list(server.api.list(SERVICES, "fleet", "app=x")) == [{"n": 1}, {"n": 2}]
    assert server.asked[0].url.path == "/api/v1/namespaces/fleet/services"
    assert server.asked[0].url.params["labelSelector"] == "app=x"
    assert server.asked[1].url.params["continue"] == "more"
    assert server.calls == [("list", "services", 200), ("list", "services", 200)]


@pytest.mark.parametrize(
    ("write", "method", "path", "kind"),
    [
        (writing("create", SERVED_MODELS, CARS), "POST", "", "application/json"),
        (writing("apply", SERVED_MODELS, CARS), "PATCH", "/cars", "application/apply-patch+yaml"),
        (writing("replace", SERVED_MODELS, CARS), "PUT", "/cars", "application/json"),
        (writing("replaceStatus", SERVED_MODELS, CARS), "PUT", "/cars/status", "application/json"),
        (deleting(SERVED_MODELS, CARS), "DELETE", "/cars", "application/json"),
    ],
)
def test_each_write_is_the_request_that_it_should_be(write: Write, method: str, path: str, kind: str) -> None:
    server = Server(httpx.Response(200, json={}))
    server.api.write(write)
    request = server.asked[0]
    assert request.method == method
    assert request.url.path == f"/apis/registry.telltale.dev/v1alpha1/namespaces/fleet/servedmodels{path}"
    assert request.headers["Content-Type"] == kind
    if method == "DELETE":
        assert json.loads(request.content)["preconditions"] == {"uid": "u"}
    else:
        assert request.url.params["fieldManager"] == "telltale-registry"


def test_nothing_is_written_once_another_may_lead() -> None:
    leading = [True, False]
    done: list[Write] = []

    def write(wanted: Write) -> Manifest:
        done.append(wanted)
        return {}

    guarded = fenced(write, lambda: leading.pop(0))
    guarded(writing("apply", LEASES, CARS))
    with pytest.raises(NotLeading):
        guarded(writing("apply", LEASES, CARS))
    assert len(done) == 1
