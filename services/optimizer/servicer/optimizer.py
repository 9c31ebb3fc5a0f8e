"""OptimizerService as a whole: its methods by subject. What is in none of them answers UNIMPLEMENTED."""

from services.optimizer.operations.offers import OfferOperations
from services.optimizer.operations.policies import PolicyOperations
from services.optimizer.operations.prediction import PredictionOperations
from services.optimizer.operations.segments import SegmentOperations
from services.optimizer.operations.training import TrainingOperations
from services.optimizer.servicer.offers import OfferMethods
from services.optimizer.servicer.policies import PolicyMethods
from services.optimizer.servicer.prediction import PredictionMethods
from services.optimizer.servicer.segments import SegmentMethods
from services.optimizer.servicer.training import TrainingMethods


class OptimizerServicer(
    OfferMethods,
    PolicyMethods,
    SegmentMethods,
    PredictionMethods,
    TrainingMethods,
):
    """campaigns.optimizer.v1.OptimizerService."""

    def __init__(
        self,
        *,
        offers: OfferOperations,
        policies: PolicyOperations,
        segments: SegmentOperations,
        prediction: PredictionOperations,
        training: TrainingOperations,
    ) -> None:
        self.offers = offers
        self.policies = policies
        self.segments = segments
        self.prediction = prediction
        self.training = training
