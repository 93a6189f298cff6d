"""A short run of the whole: three people at work while each part is killed once."""

import asyncio
from collections import Counter

import pytest

from tests.chaos.monkey import KILLS
from tests.chaos.performance import perform
from tests.chaos.report import told
from tests.chaos.stage import stage

SEED = 1729

pytestmark = pytest.mark.crash


def test_all_laws_hold_after_each_part_was_killed_while_people_worked() -> None:
    with stage(webs=1, workers=1) as everything:
        outcome = asyncio.run(perform(everything, people=3, seed=SEED, blows=KILLS))
        assert not outcome.violations, f"{told(outcome)}\nThe logs are kept in {everything.keep_logs()}."
    assert {blow for blow, took in outcome.monkey.recoveries.items() if took} == {*KILLS}
    assert [*outcome.ledger.of("create", "edit")]
    assert outcome.ends >= Counter(["serve killed", "relay killed", "worker killed"])
