from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from registry.errors import AlreadyThere, KubernetesForbidden, KubernetesUnavailable, NotThere, Refused
from registry.kubernetes.resources import ROLLOUT_ACTIONS, SERVED_MODELS
from registry.plugin.acting import Wish, result_of, rollout_action
from registry.plugin.cli import cli
from registry.plugin.cluster import Cluster, Expired, KindMissing, Unauthenticated
from registry.plugin.connection import Connection
from registry.plugin.credentials import Credentials
from registry.plugin.errors import CannotReach, ConfigFault, Unwatched
from registry.plugin.kubeconfig import Endpoint
from registry.plugin.proxies import proxy_of
from tests.registry.plugin.scenes import served_model

Answer = tuple[int, Any]
SILENCE: Answer = (0, None)


class Cut(bytes):
    """What is sent of an answer whose end never comes."""


class Server:
    """An HTTP server that answers as the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer | None] = []
        self.stopped = Event()
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name: ", ".join(self.headers.get_all(name, [])) for name in self.headers}
                server.asked.append((self.command, self.path, headers, json.loads(body) if body else None))
                answer = server.answers.pop(0)
                if answer == SILENCE:
                    server.stopped.wait(30)
                    answer = None
                if answer is None:  # the connection is lost
                    self.close_connection = True
                    return
                content = answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode()
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(content) + isinstance(content, Cut)))
                self.end_headers()
                self.wfile.write(content)
                if isinstance(content, Cut):
                    server.stopped.wait(30)
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        Handler.do_GET = Handler.do_POST = Handler._answer  # type: ignore[attr-defined]
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}/prefix"
        Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop it."""
        self.stopped.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server."""
    found = Server()
    yield found
    found.stop()


At = Callable[..., Cluster]


@pytest.fixture
def cluster_at() -> Iterator[At]:
    """Returns what asks a server."""
    opened: list[Cluster] = []

    def at(url: str, user: dict[str, Any] | None = None, **impersonation: str | list[str]) -> Cluster:
        endpoint = Endpoint("here", "fleet", {"server": url}, user or {"token": "t"})
        credentials = Credentials(endpoint.user, endpoint.cluster)
        opened.append(Cluster(lambda: Connection(endpoint, credentials, impersonation, 5.0)))
        return opened[-1]

    yield at
    for cluster in opened:
        cluster.close()


@pytest.fixture
def cluster(server: Server, cluster_at: At) -> Cluster:
    """The API server that it plays."""
    return cluster_at(server.url)


def test_a_request_says_who_asks_and_as_whom(server: Server, cluster_at: At) -> None:
    server.answers = [(201, {"status": {"userInfo": {"username": "alice"}}})]
    cluster = cluster_at(server.url, **{"Impersonate-User": "alice", "Impersonate-Group": ["a", "b"]})
    assert cluster.user() == "alice"
    method, path, headers, body = server.asked[0]
    assert (method, path) == ("POST", "/prefix/apis/authentication.k8s.io/v1/selfsubjectreviews")
    assert headers["Authorization"] == "Bearer t"
    assert (headers["Impersonate-User"], headers["Impersonate-Group"]) == ("alice", "a, b")
    assert body["kind"] == "SelfSubjectReview"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((404, b"404 page not found"), KindMissing),
        ((404, {"message": "not found", "details": {"name": "cars"}}), NotThere),
        ((401, {"message": "Unauthorized"}), Unauthenticated),
        ((403, {"message": "no"}), KubernetesForbidden),
        ((409, {"message": "there", "reason": "AlreadyExists"}), AlreadyThere),
        ((410, {"message": "too old"}), Expired),
        ((422, {"message": "invalid"}), Refused),
        ((429, {"message": "wait"}), KubernetesUnavailable),
        ((500, {"message": "broken"}), KubernetesUnavailable),
        ((200, b"<html>"), KubernetesUnavailable),
    ],
)
def test_each_answer_is_the_error_that_it_means(
    server: Server, cluster: Cluster, answer: Answer, error: type[Exception]
) -> None:
    server.answers = [answer]
    with pytest.raises(error) as raised:
        cluster.get(SERVED_MODELS, "fleet", "cars")
    assert type(raised.value) is error


def test_lists_are_read_to_their_end(server: Server, cluster: Cluster) -> None:
    server.answers = [
        (200, {"metadata": {"continue": "more", "resourceVersion": "1"}, "items": [{"a": 1}]}),
        (200, {"metadata": {"resourceVersion": "2"}, "items": [{"a": 2}]}),
    ]
    assert cluster.list(SERVED_MODELS, "fleet", {"labelSelector": "x=y"}) == ([{"a": 1}, {"a": 2}], "2")
    assert "continue=more" in server.asked[1][1]
    assert "labelSelector=x%3Dy" in server.asked[1][1]


def test_a_read_that_lost_its_connection_is_tried_again_and_a_first_one_is_not(
    server: Server, cluster: Cluster, cluster_at: At
) -> None:
    server.answers = [(200, {}), None, (200, {"spec": {}})]
    cluster.get(SERVED_MODELS, "fleet", "cars")
    assert cluster.get(SERVED_MODELS, "fleet", "cars") == {"spec": {}}
    server.answers = [None]
    with pytest.raises(CannotReach):
        cluster_at(server.url).get(SERVED_MODELS, "fleet", "cars")


def test_an_action_whose_answer_was_lost_is_created_once(server: Server, cluster: Cluster) -> None:
    wish = rollout_action(Wish("fleet", "cars", "Abort"), "alice", "1234")
    server.answers = [None, (409, {"message": "there", "reason": "AlreadyExists"}), (200, wish)]
    assert cluster.act(wish) == wish
    assert [asked[0] for asked in server.asked] == ["POST", "POST", "GET"]
    assert server.asked[0][3] == server.asked[1][3]


def test_a_token_that_is_refused_is_fetched_anew_once(server: Server, cluster_at: At, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old")
    cluster = cluster_at(server.url, {"tokenFile": str(file)})
    server.answers = [(200, {}), (401, {"message": "no"}), (200, {"spec": {}})]
    cluster.get(SERVED_MODELS, "fleet", "cars")
    file.write_text("new")
    assert cluster.get(SERVED_MODELS, "fleet", "cars") == {"spec": {}}
    assert server.asked[-1][2]["Authorization"] == "Bearer new"


def lines(*events: tuple[str, dict[str, Any]]) -> bytes:
    """Return a watch's answer."""
    return b"".join(json.dumps({"type": kind, "object": found}).encode() + b"\n" for kind, found in events)


def test_a_watch_yields_changes_and_raises_when_it_cannot_go_on(server: Server, cluster: Cluster) -> None:
    gone = {"code": 410, "message": "too old"}
    server.answers = [(200, lines(("MODIFIED", {"a": 1}), ("ERROR", gone)))]
    changes = cluster.watch(SERVED_MODELS, "fleet", "7")
    assert next(changes).object == {"a": 1}
    with pytest.raises(Expired):
        next(changes)
    assert "resourceVersion=7" in server.asked[0][1]


def test_a_watch_that_is_refused_says_so(server: Server, cluster: Cluster) -> None:
    server.answers = [(403, {"message": "no"})]
    with pytest.raises(KubernetesForbidden):
        list(cluster.watch(SERVED_MODELS, "fleet", "7"))


def pending(**status: str) -> dict[str, Any]:
    """Return an action."""
    return {"metadata": {"name": "a", "namespace": "fleet", "resourceVersion": "5"}, "status": status}


def test_an_action_is_waited_for_across_watches_that_end(server: Server, cluster: Cluster) -> None:
    server.answers = [
        (200, lines(("BOOKMARK", {"metadata": {"resourceVersion": "9"}}))),
        (410, {"message": "too old"}),
        (200, pending()),
        (200, lines(("MODIFIED", pending(state="Applied", message="done")))),
    ]
    action = pending()
    assert result_of(cluster, action, 30.0) == "Applied"
    assert action["status"]["message"] == "done"
    assert ROLLOUT_ACTIONS.plural in server.asked[0][1]
    assert "resourceVersion=9" in server.asked[1][1]


def test_an_action_is_waited_for_while_the_api_server_is_away(server: Server, cluster: Cluster) -> None:
    server.answers = [None, (503, {"message": "starting"}), (200, lines(("MODIFIED", pending(state="Ignored"))))]
    pauses: list[float] = []
    assert result_of(cluster, pending(), 30.0, pause=pauses.append) == "Ignored"
    assert len(pauses) == 2


def test_who_may_act_and_not_watch_learns_that_the_action_stands(server: Server, cluster: Cluster) -> None:
    server.answers = [(403, {"message": "no"})]
    with pytest.raises(Unwatched, match="a is asked for, but you may not watch"):
        result_of(cluster, pending(), 30.0)


def test_a_watch_that_is_never_answered_is_trouble_and_no_end(server: Server, cluster: Cluster) -> None:
    server.answers = [SILENCE]
    with pytest.raises(CannotReach, match=r"no answer from .* within 0.2 s"):
        list(cluster.watch(SERVED_MODELS, "fleet", "7", seconds=0.2))


def test_a_watch_that_falls_silent_ends(server: Server, cluster: Cluster) -> None:
    server.answers = [(200, Cut(lines(("MODIFIED", {"a": 1}))))]
    assert [change.object for change in cluster.watch(SERVED_MODELS, "fleet", "7", seconds=0.2)] == [{"a": 1}]


def test_an_action_whose_watch_expired_is_read_again_until_the_api_server_answers(
    server: Server, cluster: Cluster
) -> None:
    server.answers = [(410, {"message": "too old"}), None, (200, pending(state="Applied"))]
    pauses: list[float] = []
    assert result_of(cluster, pending(), 30.0, pause=pauses.append) == "Applied"
    assert len(pauses) == 1


@pytest.fixture
def abort(server: Server, tmp_path: Path) -> Callable[..., Result]:
    """Types `abort cars` at a server."""
    config = {
        "clusters": [{"name": "here", "cluster": {"server": server.url}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "namespace": "fleet"}}],
        "current-context": "here",
    }
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config))
    return lambda *words: CliRunner().invoke(cli, ["abort", "cars", "--kubeconfig", str(file), *words])


def alice() -> Answer:
    """Return who asks."""
    return 201, {"status": {"userInfo": {"username": "alice"}}}


def test_an_abort_that_a_silent_api_server_leaves_open_ends_with_4(
    server: Server, abort: Callable[..., Result]
) -> None:
    created = rollout_action(Wish("fleet", "cars", "Abort"), "alice", "1234")
    created["metadata"]["resourceVersion"] = "5"
    server.answers = [(200, served_model()), alice(), (201, created), SILENCE, SILENCE, SILENCE, SILENCE]
    result = abort("--timeout", "0.2", "--request-timeout", "0.2")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "is the registry controller running?" in result.stderr


def test_an_abort_that_may_not_be_watched_is_printed_and_ends_with_4(
    server: Server, abort: Callable[..., Result]
) -> None:
    created = rollout_action(Wish("fleet", "cars", "Abort"), "alice", "1234")
    created["metadata"]["resourceVersion"] = "5"
    server.answers = [(403, {"message": "no"}), alice(), (201, created), (403, {"message": "alice may not watch"})]
    result = abort("-o", "json")
    assert (result.exit_code, json.loads(result.stdout)) == (4, created)
    assert "is asked for, but you may not watch what comes of it: alice may not watch" in result.stderr


@pytest.mark.parametrize("may_read", [True, False])
def test_an_action_goes_with_its_served_model_where_that_was_read(
    server: Server, abort: Callable[..., Result], may_read: bool
) -> None:
    server.answers = [
        (200, served_model()) if may_read else (403, {"message": "no"}),
        alice(),
        (201, {"metadata": {"name": "a"}}),
    ]
    assert abort("--no-wait").exit_code == 0
    owner = {"apiVersion": "registry.telltale.dev/v1alpha1", "kind": "ServedModel", "name": "cars", "uid": "0c1d"}
    assert server.asked[-1][3]["metadata"].get("ownerReferences") == ([owner] if may_read else None)
    assert len(server.asked) == 3, "it costs no request"


@pytest.mark.parametrize(
    ("server_of", "said"),
    [
        (lambda port: f"http://127.0.0.1:{port}", "nothing answers"),
        (lambda _: "http://no-such-host.invalid", "cannot be found"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_named(server_of: Callable[[int], str], said: str, cluster_at: At) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # it does not listen
        with pytest.raises(CannotReach, match=said) as raised:
            cluster_at(server_of(bound.getsockname()[1])).user()
    assert "context here" in str(raised.value)


def test_a_server_that_does_not_speak_is_not_waited_for(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = Endpoint("here", "fleet", {"server": f"http://127.0.0.1:{silent.getsockname()[1]}"}, {})
        connection = Connection(endpoint, Credentials({}, {}), {}, 0.2)
        with pytest.raises(CannotReach, match=r"no answer from .* within 0.2 s"):
            connection.ask("GET", "/")
    assert server.asked == []


def test_a_proxy_is_the_kubeconfigs_or_the_environments_but_never_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert proxy_of({}, "https", "far.example.com") is None
    assert proxy_of({"proxy-url": "http://proxy:8080"}, "https", "far") == ("proxy", 8080)
    monkeypatch.setenv("HTTPS_PROXY", "http://other:3128")
    monkeypatch.setenv("NO_PROXY", "near.example.com")
    assert proxy_of({}, "https", "far.example.com") == ("other", 3128)
    assert proxy_of({}, "https", "near.example.com") is None
    assert proxy_of({}, "https", "127.0.0.1") is None
    with pytest.raises(ConfigFault):
        proxy_of({"proxy-url": "socks5://proxy:1080"}, "https", "far")
