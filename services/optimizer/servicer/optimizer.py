"""OptimizerService as a whole: its methods by subject. What is in none of them answers UNIMPLEMENTED."""

from services.optimizer.operations.offers import OfferOperations
from services.optimizer.operations.policies import PolicyOperations
from services.optimizer.operations.training import TrainingOperations
from services.optimizer.servicer.offers import OfferMethods
from services.optimizer.servicer.policies import PolicyMethods
from services.optimizer.servicer.training import TrainingMethods


class OptimizerServicer(
    OfferMethods,
    PolicyMethods,
    TrainingMethods,
):
    """campaigns.optimizer.v1.OptimizerService."""

    def __init__(
        self,
        *,
        offers: OfferOperations,
        policies: PolicyOperations,
        training: TrainingOperations,
    ) -> None:
        self.offers = offers
        self.policies = policies
        self.training = training
