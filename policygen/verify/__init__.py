"""What policies mean for flows: the judge, which knows neither who wrote them nor how."""

from policygen.verify.evaluate import Flow, RuleRef, Verdict, evaluate
from policygen.verify.matching import FlowEnd
from policygen.verify.replay import Denial, ReplayFlow, ReplayReport, RuleHits, replay

__all__ = [
    "Denial",
    "Flow",
    "FlowEnd",
    "ReplayFlow",
    "ReplayReport",
    "RuleHits",
    "RuleRef",
    "Verdict",
    "evaluate",
    "replay",
]
