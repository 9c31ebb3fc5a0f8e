"""ABTestService as a whole: its methods by subject. What is in none of them answers UNIMPLEMENTED."""

from services.abtest.group_commit import GroupCommit
from services.abtest.operations.analysis import AnalysisOperations
from services.abtest.operations.assignment import AssignmentOperations, AssignmentOutcome
from services.abtest.operations.changes import ChangeOperations
from services.abtest.operations.creation import CreationOperations
from services.abtest.operations.enrolment import EnrolmentOperations
from services.abtest.operations.exposures import ExposureOperations
from services.abtest.operations.history import HistoryOperations
from services.abtest.operations.lifecycle import LifecycleOperations
from services.abtest.operations.progress import ProgressOperations
from services.abtest.servicer.analysis import AnalysisMethods
from services.abtest.servicer.assignment import AssignmentMethods
from services.abtest.servicer.creation import CreationMethods
from services.abtest.servicer.enrolment import EnrolmentMethods
from services.abtest.servicer.exposures import ExposureMethods
from services.abtest.servicer.history import HistoryMethods
from services.abtest.servicer.lifecycle import LifecycleMethods
from services.abtest.servicer.planning import PlanningMethods
from services.abtest.servicer.progress import ProgressMethods


class ABTestServicer(
    AnalysisMethods,
    AssignmentMethods,
    CreationMethods,
    EnrolmentMethods,
    ExposureMethods,
    HistoryMethods,
    LifecycleMethods,
    PlanningMethods,
    ProgressMethods,
):
    """campaigns.abtest.v1.ABTestService."""

    def __init__(
        self,
        *,
        analysis: AnalysisOperations,
        assignment: AssignmentOperations,
        group_commit: GroupCommit[tuple[str, str], AssignmentOutcome],
        changes: ChangeOperations,
        creation: CreationOperations,
        enrolment: EnrolmentOperations,
        exposures: ExposureOperations,
        history: HistoryOperations,
        lifecycle: LifecycleOperations,
        progress: ProgressOperations,
    ) -> None:
        self.analysis = analysis
        self.assignment = assignment
        self.group_commit = group_commit
        self.changes = changes
        self.creation = creation
        self.enrolment = enrolment
        self.exposures = exposures
        self.history = history
        self.lifecycle = lifecycle
        self.progress = progress
