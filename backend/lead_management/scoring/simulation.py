"""What a draft would make of the leads there are, beside the version that is shown.

Both score every lead, those that ended as of the moment when they did: what came after
a conversion does not count for it. Of those that ended it is known how well a score
would have told the converted ones, and that is what says whether rules are good.
"""

import heapq
from uuid import UUID

from django.utils import timezone

from core.jobs import JobHandler, handles, submit
from core.models import Job
from lead_management.models import Lead, LeadScore, ScoringModel
from lead_management.models.scoring_model import MAX_SCORE
from lead_management.scoring.computing import Computation

KIND = "score_simulation"
CHUNK_LEADS = 1000
MOVERS = 20
DECILES = 10
# What became of a lead, once something did.
WON = (Lead.Status.CONVERTED,)
LOST = (Lead.Status.LOST, Lead.Status.UNQUALIFIED)


def start(user, model: ScoringModel, **params) -> Job:
    job = Job(
        organization_id=model.organization_id,
        owner=user,
        kind=KIND,
        params={"scoring_model": str(model.pk), **params},
        counts={"leads": 0},
    )
    return submit(job)


class Outcomes:
    """How many leads with each score were converted, and how many were not."""

    def __init__(self, counts: list | None = None):
        self.counts = counts or [[0, 0] for _ in range(MAX_SCORE + 1)]

    def add(self, score: int, converted: bool) -> None:
        self.counts[score][not converted] += 1

    @property
    def converted(self) -> int:
        return sum(converted for converted, _ in self.counts)

    @property
    def not_converted(self) -> int:
        return sum(other for _, other in self.counts)

    def auc(self) -> float | None:
        """The area under the ROC curve: how likely a converted lead has the higher
        score of two. One half is chance; equal scores count half.
        """
        if not (self.converted and self.not_converted):
            return None
        below = pairs = 0
        for converted, other in self.counts:
            pairs += converted * (below + other / 2)
            below += other
        return round(pairs / (self.converted * self.not_converted), 4)

    def deciles(self) -> list[dict]:
        """Tenths of the leads by falling score: the share converted in each, and its
        lift, how many times the share among all that is.

        Leads with one score share what is known of them.
        """
        total = self.converted + self.not_converted
        if not total:
            return []
        groups = [(c + n, c) for c, n in reversed(self.counts) if c + n]
        rows, left = [], list(groups)
        overall = self.converted / total
        for decile in range(1, DECILES + 1):
            wanted = size = total / DECILES
            converted = 0.0
            while wanted > 1e-9 and left:
                count, won = left[0]
                taken = min(count, wanted)
                part = won * taken / count
                converted += part
                wanted -= taken
                if taken == count:
                    del left[0]
                else:
                    left[0] = (count - taken, won - part)
            share = converted / size
            rows.append(
                {
                    "decile": decile,
                    "leads": round(size, 1),
                    "converted": round(converted, 1),
                    "share": round(share, 4),
                    "lift": round(share / overall, 2) if overall else None,
                }
            )
        return rows


@handles(KIND)
class SimulationHandler(JobHandler):
    def __init__(self, job):
        models = ScoringModel.objects.select_related("organization")
        self.model = models.get(pk=job.params["scoring_model"])
        shown = LeadScore.published_models(job.organization_id)
        self.shown = shown.select_related("organization").first()
        self.computations = {
            name: Computation(model)
            for name, model in (("before", self.shown), ("after", self.model))
            if model
        }

    def step(self, job):
        leads = Lead.objects.live().filter(organization=job.organization)
        if job.total is None:
            job.total = leads.count()
            job.state = {
                "grades": {},
                "movers": [],
                "moved": {"up": 0, "down": 0, "same": 0},
                "outcomes": {},
                "version": self.model.version,
            }
        if after := job.state.get("after"):
            leads = leads.filter(pk__gt=after)
        columns = ("pk", "status", "status_since")
        chunk = list(leads.order_by("pk").values_list(*columns)[:CHUNK_LEADS])
        if chunk:
            self._score(job, chunk)
            job.state["after"] = str(chunk[-1][0])
        job.counts["leads"] += len(chunk)
        job.done = min(job.counts["leads"], job.total)
        if len(chunk) == CHUNK_LEADS:
            return False
        self._report(job)
        return True

    def _score(self, job: Job, chunk: list[tuple]) -> None:
        now = timezone.now()
        ended = {*WON, *LOST}
        moments = {pk: since if st in ended else now for pk, st, since in chunk}
        totals = {
            name: {pk: score.total for pk, score in computation.of(moments).items()}
            for name, computation in self.computations.items()
        }
        for name, computation in self.computations.items():
            grades = job.state["grades"].setdefault(name, {})
            outcomes = Outcomes(job.state["outcomes"].get(name))
            for pk, status, _ in chunk:
                grade = computation.model.grade_of(totals[name][pk])
                grades[grade] = grades.get(grade, 0) + 1
                if status in ended:
                    outcomes.add(totals[name][pk], status in WON)
            job.state["outcomes"][name] = outcomes.counts
        moved = job.state["moved"]
        movers = [(n, UUID(pk), b, a) for n, pk, b, a in job.state["movers"]]
        for pk, old in totals.get("before", {}).items():
            new = totals["after"][pk]
            moved["up" if new > old else "down" if new < old else "same"] += 1
            if new != old:
                movers.append((abs(new - old), pk, old, new))
        movers = heapq.nlargest(MOVERS, movers)
        job.state["movers"] = [[n, str(pk), b, a] for n, pk, b, a in movers]

    def _report(self, job: Job) -> None:
        state = job.state
        outcomes = {
            name: Outcomes(state["outcomes"].get(name)) for name in ("before", "after")
        }
        after = outcomes["after"]
        self.model.simulation = {
            "job": str(job.pk),
            "at": timezone.now().isoformat(),
            "version": state["version"],
            "compared_to": self.shown.number if self.shown else None,
            "leads": job.counts["leads"],
            "grades": {
                name: {
                    grade: state["grades"].get(name, {}).get(grade, 0)
                    for grade in computation.model.grades
                }
                for name, computation in self.computations.items()
            },
            "moved": state["moved"] if self.shown else None,
            "movers": [
                {"lead": pk, "before": old, "after": new}
                for _, pk, old, new in state["movers"]
            ],
            "converted": after.converted,
            "not_converted": after.not_converted,
            "auc": {name: counts.auc() for name, counts in outcomes.items()},
            "deciles": after.deciles(),
        }
        self.model.save(update_fields=["simulation"])
