from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from registry.plugin import problems
from registry.plugin.cli import cli
from registry.plugin.completion import suggestions


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_explains_itself_without_a_cluster(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert "--namespace" in result.output


@pytest.mark.parametrize(
    "words",
    [
        ["abort"],
        ["retire", "cars"],
        ["status", "--watch"],
        ["status", "cars", "--all-namespaces"],
        ["status", "cars", "--watch", "-o", "json"],
        ["promote", "cars", "--to-revision", "x"],
        ["abort", "cars", "--timeout", "-1"],
    ],
)
def test_wrong_usage_ends_with_2(words: list[str]) -> None:
    assert CliRunner().invoke(cli, words).exit_code == 2


@pytest.mark.parametrize("name", ["", "a/b", "a?b", "Cars", "-cars", "cars.", "a..b", "a" * 254, "cars\n"])
@pytest.mark.parametrize("command", sorted(cli.commands))
def test_a_name_that_no_object_can_have_is_wrong_usage(command: str, name: str) -> None:
    result = CliRunner().invoke(cli, [command, "--", name])
    assert result.exit_code == 2
    assert "a name has only lowercase letters, digits, '-' and '.'" in " ".join(result.output.split())
    assert (f'"{name}"' in result.output) is bool(name)


def test_a_name_that_is_empty_may_be_a_variable_that_is_not_set() -> None:
    for words in (["status", ""], ["undo", "cars", "--to-revision", ""]):
        result = CliRunner().invoke(cli, words)
        assert (result.exit_code, "it is empty (a variable that is not set?)" in result.output) == (2, True)


def test_without_a_kubeconfig_it_says_how_to_name_one() -> None:
    result = CliRunner().invoke(cli, ["status"])
    assert (result.exit_code, result.output) == (
        1,
        "Error: no cluster is configured: set KUBECONFIG, or --kubeconfig, or make ~/.kube/config\n",
    )


def test_tab_suggests_commands_flags_and_choices_and_nothing_without_a_cluster() -> None:
    assert [line.partition("\t")[0] for line in suggestions(["p"])] == ["plan", "promote", "pause"]
    assert [line.partition("\t")[0] for line in suggestions(["undo", "--to"])] == ["--to-revision"]
    assert list(suggestions(["history", "cars", "-o", ""])) == ["wide", "json", "yaml"]
    assert list(suggestions(["abort", ""])) == []


def test_a_name_that_is_not_known_leads_to_one_that_is() -> None:
    assert "Did you mean cars?" in problems.no_such_model("carz", "fleet", ["cars", "trucks"], [])
    assert "add -n fleet" in problems.no_such_model("cars", "default", ["trucks"], ["fleet"])
    assert "There are: trucks" in problems.no_such_model("x", "fleet", ["trucks"], [])
    assert "has none" in problems.no_such_model("x", "fleet", [], [])


def test_what_a_policy_says_is_passed_on_without_its_preamble() -> None:
    message = (
        "\"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: requestedBy must be you"
    )
    assert problems.not_allowed(message) == "Not allowed: requestedBy must be you"
    assert problems.refused("spec.reason: too long") == "The API server refused it: spec.reason: too long"
