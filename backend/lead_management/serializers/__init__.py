from .activities import ActivityInput
from .assignment import (
    AssignSerializer,
    AvailabilityInput,
    DecisionSerializer,
    RuleTrialAnswerSerializer,
    RuleTrialSerializer,
    TriedDecisionSerializer,
)
from .conversion import ConversionInput, ConversionSerializer
from .deals import (
    DealStaySerializer,
    NamedPipelineSerializer,
    PipelineInput,
    StageSummary,
    SumSerializer,
)
from .leads import LeadInput, LeadStaySerializer, TransitionSerializer
from .moments import LocalSerializer
from .scoring import (
    OverrideInput,
    ScoreSerializer,
    ScoringModelInput,
    SimulationSerializer,
)

__all__ = [
    "ActivityInput",
    "AssignSerializer",
    "AvailabilityInput",
    "ConversionInput",
    "ConversionSerializer",
    "DealStaySerializer",
    "DecisionSerializer",
    "LeadInput",
    "LeadStaySerializer",
    "LocalSerializer",
    "NamedPipelineSerializer",
    "OverrideInput",
    "PipelineInput",
    "RuleTrialAnswerSerializer",
    "RuleTrialSerializer",
    "ScoreSerializer",
    "ScoringModelInput",
    "SimulationSerializer",
    "StageSummary",
    "SumSerializer",
    "TransitionSerializer",
    "TriedDecisionSerializer",
]
