"""The roles for people, of the chart and of the pages: what the command tells people to do they may do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from registry.kubernetes.resources import ROLLOUT_ACTIONS, Manifest

ROOT = Path(__file__).parents[3]


def roles() -> Iterator[Manifest]:
    """Yield the roles that let somebody create actions."""
    found = list(yaml.safe_load_all((ROOT / "charts/telltale/files/registry/roles.yaml").read_text()))
    for page in ("kubectl-telltale.md", "registry-api.md"):
        for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL):
            found += [one for one in yaml.safe_load_all(block) if one["kind"].endswith("Role")]
    yield from (role for role in found if "create" in verbs(role))


def verbs(role: Manifest) -> set[str]:
    """Return what a role allows on all RolloutActions."""
    rules = [rule for rule in role["rules"] if ROLLOUT_ACTIONS.plural in rule["resources"]]
    return {verb for rule in rules for verb in rule["verbs"]}


ROLES = {f"{role['kind']} {role['metadata']['name']}": verbs(role) for role in roles()}


def test_nobody_who_acts_may_take_away_the_record_of_it() -> None:
    assert len(ROLES) >= 3
    assert all(
        "delete" not in allowed and "*" not in allowed for name, allowed in ROLES.items() if "controller" not in name
    )


@pytest.mark.parametrize("name", ["ClusterRole telltale-operator", "Role telltale-operator", "Role on-call-for-cars"])
def test_whoever_may_create_an_action_may_watch_what_comes_of_it(name: str) -> None:
    assert {"get", "list", "watch"} <= ROLES[name]
