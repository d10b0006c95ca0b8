"""Schedules on a real API server, several at once, each in a namespace and with a controller of its own."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lightkube.config.kubeconfig import KubeConfig

from faults.campaign import Outcome
from faults.proxy import Proxy
from faults.real import RealSchedule
from killpoints.campaign import TRIES, Field, playing_field, record
from killpoints.errors import HarnessError, NotPlayed
from killpoints.point import Baseline
from killpoints.scenario import Scenario
from killpoints.scenarios import SCENARIOS
from registry.errors import RegistryError

# So many schedules of each scenario, since each has to be played undisturbed first.
_OF_EACH = 2


def drawn(seed: int, count: int) -> list[Scenario]:
    """Return the scenarios of so many schedules."""
    able = [scenario for scenario in SCENARIOS if not scenario.by_hand_only]
    some = random.Random(f"real {seed}").sample(able, min(-(-count // _OF_EACH), len(able)))  # noqa: S311
    return [some[number % len(some)] for number in range(count)]


def play(seed: int, count: int, parallel: int, report: Callable[[str], None]) -> Outcome:
    """Play ``count`` schedules on the cluster of KUBECONFIG."""
    scenarios = drawn(seed, count)
    distinct = list({scenario.name: scenario for scenario in scenarios}.values())
    with playing_field(parallel) as where:
        baselines = record(where, distinct, lambda line, _: report(f"undisturbed {line}"))
        with _behind_proxy() as proxy:
            return _play_all(seed, scenarios, baselines, proxy, where, report)


def _play_all(
    seed: int,
    scenarios: Sequence[Scenario],
    baselines: Mapping[str, Baseline],
    proxy: Proxy,
    where: Field,
    report: Callable[[str], None],
) -> Outcome:
    outcome = Outcome()

    def one(number: int, tries: int = TRIES) -> tuple[str, list[str]]:
        scenario = scenarios[number]
        schedule = RealSchedule(seed + number, scenario, baselines[scenario.name], proxy)
        try:
            with where.place() as (cluster, name):
                wrong = schedule.play(cluster, name, where.queries)
        except (HarnessError, RegistryError) as error:
            if isinstance(error, NotPlayed) and tries > 1:
                return one(number, tries - 1)
            wrong = [f"{type(error).__name__}: {error}"]
        outcome.faults.update(schedule.weather.done)
        report("")
        return f"real schedule {seed + number}", wrong

    with ThreadPoolExecutor(where.parallel) as executor:
        for schedule, wrong in executor.map(one, range(len(scenarios))):
            outcome.add(schedule, wrong)
    report(", ".join(f"{count} {kind}" for kind, count in outcome.faults.most_common()))
    return outcome


@contextmanager
def _behind_proxy() -> Iterator[Proxy]:
    """Let every connection that is opened from now on go through a proxy."""
    upstream = KubeConfig.from_env().get()
    if upstream is None:
        raise HarnessError("the kubeconfig has no current context")
    former = os.environ["KUBECONFIG"]
    with tempfile.TemporaryDirectory(prefix="telltale-faults-") as folder, Proxy(upstream) as proxy:
        path = Path(folder) / "kubeconfig"
        path.write_text(_KUBECONFIG.format(url=proxy.url))
        os.environ["KUBECONFIG"] = str(path)
        try:
            yield proxy
        finally:
            os.environ["KUBECONFIG"] = former


_KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: proxy
contexts: [{{name: proxy, context: {{cluster: proxy, user: proxy}}}}]
clusters: [{{name: proxy, cluster: {{server: "{url}"}}}}]
users: [{{name: proxy, user: {{}}}}]
"""
