"""`python -m tests.chaos`: break everything in turn while people work, then hold the laws against it."""

import argparse
import asyncio
import random
import sys

from tests.chaos.performance import perform
from tests.chaos.report import told
from tests.chaos.stage import stage


def tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3, help="how long the monkey rages [3]")
    parser.add_argument("--people", type=int, default=8, help="how many people work meanwhile [8]")
    parser.add_argument("--seed", type=int, default=None, help="of what is random [another one each time]")
    given = parser.parse_args()
    if given.people < 2 or given.minutes <= 0:
        parser.error("there must be 2 people or more, and some time")
    seed = random.randrange(10**6) if given.seed is None else given.seed
    tell(f"Seed {seed}: {given.people} people for {given.minutes:g} minutes.")
    with stage() as everything:
        try:
            outcome = asyncio.run(
                perform(everything, people=given.people, seed=seed, seconds=given.minutes * 60)
            )
            tell(told(outcome))
            failed = bool(outcome.violations)
        except BaseException:
            failed = True
            raise
        finally:
            if failed:
                tell(f"The logs are kept in {everything.keep_logs()}.")
    tell(f"Seed {seed}: {'BROKEN' if failed else 'all laws hold'}.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
