"""Writes synetune_rungs.json: decisions of syne-tune 0.13.0's rung systems.

    pip install syne-tune==0.13.0
    python synetune_rungs.py

Trial t scores scores[t][j] at epoch levels[j]. Trials arrive in the order of
their numbers and are trained by one worker. A step [t, e] trains trial t up to
epoch e. Scores are handed over as losses, negated: for mode "max" syne-tune
computes the quantile at 1 - r_j/r_(j+1), and where that should fall exactly on
the score of a trial, rounding can put it above. No two scores of a level are
equal for the same reason: g*v + (1-g)*v can miss v.
"""

import json
from pathlib import Path

import numpy as np
from syne_tune.optimizer.schedulers.hyperband_promotion import PromotionRungSystem
from syne_tune.optimizer.schedulers.hyperband_stopping import StoppingRungSystem
from syne_tune.optimizer.schedulers.utils.successive_halving import (
    successive_halving_rung_levels,
)

PROBLEMS = ((40, 3, 50), (40, 2, 50), (40, 4, 50), (30, 3, 81), (12, 3, 10), (2, 3, 9))


class Rungs:
    def __init__(self, cls, levels, scores):
        self.levels, self.scores = levels, scores
        quantiles = [x / y for x, y in zip(levels, levels[1:])]
        self.system = cls(levels[:-1], quantiles, "loss", "min", "epoch", levels[-1])

    def report(self, trial, epoch):
        score = self.scores[trial][self.levels.index(epoch)]
        result = {"loss": -score, "epoch": epoch}
        return self.system.on_task_report(str(trial), result, skip_rungs=0)


def promotion(levels, scores):
    rungs, steps, started = Rungs(PromotionRungSystem, levels, scores), [], 0
    system = rungs.system
    while True:
        found = system.on_task_schedule(str(started))
        if "trial_id" in found:
            trial, epoch = int(found.pop("trial_id")), found["milestone"]
            system.on_task_add(str(trial), 0, new_config=False, **found)
        elif started < len(scores):
            trial, epoch = started, system.get_first_milestone(0)
            system.on_task_add(str(trial), 0, new_config=True)
            started += 1
        else:
            return steps
        steps.append([trial, epoch])
        rungs.report(trial, epoch)
        system.on_task_remove(str(trial))


def stopping(levels, scores):
    rungs, steps = Rungs(StoppingRungSystem, levels, scores), []
    for trial in range(len(scores)):
        for epoch in levels:
            steps.append([trial, epoch])
            if not rungs.report(trial, epoch)["task_continues"]:
                break
    return steps


def main():
    rng = np.random.default_rng(2024)
    cases = []
    for trials, eta, max_t in PROBLEMS:
        levels = successive_halving_rung_levels(None, 1, eta, None, max_t) + [max_t]
        final = rng.uniform(0, 1, (trials, 1))
        learned = 1 - np.exp(-np.array(levels) / 10)
        noise = rng.normal(0, 0.05, (trials, len(levels)))
        scores = (final * learned + noise).round(6).tolist()
        assert all(len(set(column)) == trials for column in zip(*scores))
        cases.append(
            {
                "eta": eta,
                "levels": levels,
                "scores": scores,
                "promotion": promotion(levels, scores),
                "stopping": stopping(levels, scores),
            }
        )
    out = Path(__file__).with_suffix(".json")
    out.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")


main()
