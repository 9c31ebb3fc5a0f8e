"""OptimizerService as a whole: its methods by subject. What is in none of them answers UNIMPLEMENTED."""

from services.optimizer.operations.offers import OfferOperations
from services.optimizer.operations.training import TrainingOperations
from services.optimizer.servicer.offers import OfferMethods
from services.optimizer.servicer.training import TrainingMethods


class OptimizerServicer(
    OfferMethods,
    TrainingMethods,
):
    """campaigns.optimizer.v1.OptimizerService."""

    def __init__(
        self,
        *,
        offers: OfferOperations,
        training: TrainingOperations,
    ) -> None:
        self.offers = offers
        self.training = training
