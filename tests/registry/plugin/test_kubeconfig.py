from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from registry.plugin.errors import ConfigFault
from registry.plugin.kubeconfig import _of_pod, contexts, find


def write(folder: Path, name: str, *names: str, current: str | None = None, **cluster: Any) -> str:
    """Write a kubeconfig with a context of each name; return its path."""
    folder.mkdir(exist_ok=True)
    config = {
        "current-context": current,
        "clusters": [{"name": one, "cluster": {"server": f"https://{name}-{one}:6443", **cluster}} for one in names],
        "contexts": [{"name": one, "context": {"cluster": one, "user": one, "namespace": one}} for one in names],
        "users": [{"name": one, "user": {"token": f"{name}-{one}"}} for one in names],
    }
    (folder / name).write_text(yaml.safe_dump(config))
    return str(folder / name)


def test_of_several_files_the_first_to_name_something_counts(tmp_path: Path) -> None:
    files = [write(tmp_path, "a", "one"), str(tmp_path / "missing"), write(tmp_path, "b", "one", "two", current="two")]
    environment = {"KUBECONFIG": ":".join(files)}
    found = find(environment, None, None)
    assert (found.context, found.server, found.namespace) == ("two", "https://b-two:6443", "two")
    assert find(environment, None, "one").user == {"token": "a-one"}
    assert contexts(environment, None) == ["one", "two"]


def test_files_that_a_kubeconfig_names_are_beside_it(tmp_path: Path) -> None:
    file = write(tmp_path / "far", "a", "one", current="one", **{"certificate-authority": "ca.crt"})
    assert find({}, file, None).cluster["certificate-authority"] == str(tmp_path / "far" / "ca.crt")


def test_a_credential_plugin_with_a_path_is_beside_the_kubeconfig_and_one_with_a_name_is_on_the_path(
    tmp_path: Path,
) -> None:
    for command, wanted in (("bin/login", str(tmp_path / "bin/login")), ("aws", "aws")):
        file = Path(write(tmp_path, "a", "one", current="one"))
        config = yaml.safe_load(file.read_text())
        config["users"][0]["user"] = {"exec": {"command": command}}
        file.write_text(yaml.safe_dump(config))
        assert find({}, str(file), None).user["exec"]["command"] == wanted


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"current-context": None}, "no current context"),
        ({"current-context": "two"}, "no context 'two'"),
        ({"clusters": []}, "names the cluster 'one'"),
        ({"users": []}, "names the user 'one'"),
    ],
)
def test_a_kubeconfig_that_leads_nowhere_says_what_it_lacks(tmp_path: Path, broken: dict[str, Any], said: str) -> None:
    file = Path(write(tmp_path, "a", "one", current="one"))
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | broken))
    with pytest.raises(ConfigFault, match=said):
        find({}, str(file), None)


def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("just text")
    with pytest.raises(ConfigFault, match="is no kubeconfig"):
        find({}, str(tmp_path / "a"), None)
    with pytest.raises(ConfigFault, match="there is no kubeconfig"):
        find({}, str(tmp_path / "b"), None)


def test_without_any_kubeconfig_a_pod_asks_as_its_service_account(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("fleet\n")
    found = _of_pod({"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path)
    assert (found.server, found.namespace) == ("https://[fd00::1]:443", "fleet")
    with pytest.raises(ConfigFault, match="no cluster is configured"):
        find({"KUBECONFIG": str(tmp_path / "none")}, None, None)
