"""ABTestService as a whole: its methods by subject. What is in none of them answers UNIMPLEMENTED."""

from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.operations.assignment import AssignmentOperations, AssignmentOutcome
from services.abtest.operations.bandit import BanditOperations
from services.abtest.operations.changes import ChangeOperations
from services.abtest.operations.creation import CreationOperations
from services.abtest.operations.duration import DurationOperations
from services.abtest.operations.enrolment import EnrolmentOperations
from services.abtest.operations.exposures import ExposureOperations
from services.abtest.operations.history import HistoryOperations
from services.abtest.operations.lifecycle import LifecycleOperations
from services.abtest.operations.overlaps import OverlapOperations
from services.abtest.operations.progress import ProgressOperations
from services.abtest.operations.simulation import SimulationOperations
from services.abtest.servicer.analysis import AnalysisMethods
from services.abtest.servicer.assignment import AssignmentMethods
from services.abtest.servicer.bandit import BanditMethods
from services.abtest.servicer.creation import CreationMethods
from services.abtest.servicer.duration import DurationMethods
from services.abtest.servicer.enrolment import EnrolmentMethods
from services.abtest.servicer.exposures import ExposureMethods
from services.abtest.servicer.history import HistoryMethods
from services.abtest.servicer.lifecycle import LifecycleMethods
from services.abtest.servicer.overlaps import OverlapMethods
from services.abtest.servicer.planning import PlanningMethods
from services.abtest.servicer.progress import ProgressMethods
from services.abtest.servicer.simulation import SimulationMethods
from services.common.batching import Batcher


class ABTestServicer(
    AnalysisMethods,
    AssignmentMethods,
    BanditMethods,
    CreationMethods,
    DurationMethods,
    EnrolmentMethods,
    ExposureMethods,
    HistoryMethods,
    LifecycleMethods,
    OverlapMethods,
    PlanningMethods,
    ProgressMethods,
    SimulationMethods,
):
    """campaigns.abtest.v1.ABTestService."""

    def __init__(
        self,
        *,
        analysis: AnalysisOperations,
        assignment: AssignmentOperations,
        group_commit: Batcher[tuple[str, str], AssignmentOutcome],
        bandit: BanditOperations,
        changes: ChangeOperations,
        creation: CreationOperations,
        duration: DurationOperations,
        enrolment: EnrolmentOperations,
        exposures: ExposureOperations,
        history: HistoryOperations,
        lifecycle: LifecycleOperations,
        overlaps: OverlapOperations,
        progress: ProgressOperations,
        simulation: SimulationOperations,
    ) -> None:
        self.analysis = analysis
        self.assignment = assignment
        self.group_commit = group_commit
        self.bandit = bandit
        self.changes = changes
        self.creation = creation
        self.duration = duration
        self.enrolment = enrolment
        self.exposures = exposures
        self.history = history
        self.lifecycle = lifecycle
        self.overlaps = overlaps
        self.progress = progress
        self.simulation = simulation
