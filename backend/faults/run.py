"""What happens when parts of MyCRM fail: `./run_tests.sh faults [FAULT ...]`.

Starts the production stack (`./run.sh production`) in a folder of its own, and has
clients write and read through Nginx while its parts are killed, frozen or emptied,
ROUNDS times each (20). Each POST has an Idempotency-Key and is sent again with it until
it is answered by success, as a careful client does. At the end the database is asked:

- lost: writes that were answered by success, and are not there;
- twice: what was asked for once, and is there more than once;
- other: answers that a client should not see under this fault, or not so late.

Each must be 0, or this fails. Only processes of that stack are touched.
"""

import argparse
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from faults.kinds import FAULTS
from faults.trial import Trial
from measuring.stack import Stack, production


def try_fault(stack: Stack, name: str) -> Trial:
    fault, allowed, seconds = FAULTS[name]
    trial = Trial(stack, name, allowed, seconds)
    try:
        fault(trial)
    except Exception as error:
        trial.note_other(f"{type(error).__name__}: {error}")
    trial.judge()
    return trial


def report(trial: Trial) -> None:
    answers = Counter()
    for (_, status), number in trial.answers.items():
        answers[status] += number
    shown = " ".join(f"{status}:{answers[status]}" for status in sorted(answers))
    print(
        f"{trial.name:<21}{trial.rounds:>7}{len(trial.made) + len(trial.titles):>8}"
        f"{trial.lost:>6}{trial.twice:>7}{len(trial.others):>7}"
        f"{trial.slowest:>8.2f} s  {shown}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    names = parser.parse_args().faults or list(FAULTS)
    if unknown := set(names) - set(FAULTS):
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="mycrm-faults-"))
    folder.chmod(0o755)  # PostgreSQL's user passes through
    trials = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with production(folder) as stack:
            print(
                f"{'fault':<21}{'rounds':>7}{'writes':>8}{'lost':>6}{'twice':>7}"
                f"{'other':>7}{'slowest':>10}  answers"
            )
            for name in names:
                trials.append(try_fault(stack, name))
                report(trials[-1])
    finally:
        for trial in trials:
            for text, number in Counter(trial.others).most_common(10):
                print(f"{trial.name}: {number} x {text}")
    if all(trial.is_good for trial in trials):
        shutil.rmtree(folder)
        print("Nothing was lost, nothing was done twice, every answer was right.")
    else:
        print(f"The logs are in {folder / 'logs'}.")
        sys.exit(1)


if __name__ == "__main__":
    main()
