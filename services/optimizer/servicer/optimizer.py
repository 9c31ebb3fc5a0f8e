"""OptimizerService as a whole: its methods by subject. What is in none of them answers UNIMPLEMENTED."""

from services.optimizer.operations.affinity import AffinityOperations
from services.optimizer.operations.campaign_choice import CampaignChoiceOperations
from services.optimizer.operations.models import ModelOperations
from services.optimizer.operations.offer_constraints import OfferConstraintOperations
from services.optimizer.operations.offer_outcomes import OutcomeOperations
from services.optimizer.operations.offers import OfferOperations
from services.optimizer.operations.policies import PolicyOperations
from services.optimizer.operations.prediction import PredictionOperations
from services.optimizer.operations.recommendations import RecommendationOperations
from services.optimizer.operations.segments import SegmentOperations
from services.optimizer.operations.send_times import SendTimeOperations
from services.optimizer.operations.training import TrainingOperations
from services.optimizer.servicer.affinity import AffinityMethods
from services.optimizer.servicer.campaign_choice import CampaignChoiceMethods
from services.optimizer.servicer.models import ModelMethods
from services.optimizer.servicer.offer_constraints import OfferConstraintMethods
from services.optimizer.servicer.offers import OfferMethods
from services.optimizer.servicer.policies import PolicyMethods
from services.optimizer.servicer.prediction import PredictionMethods
from services.optimizer.servicer.recommendations import RecommendationMethods
from services.optimizer.servicer.segments import SegmentMethods
from services.optimizer.servicer.send_times import SendTimeMethods
from services.optimizer.servicer.training import TrainingMethods


class OptimizerServicer(
    AffinityMethods,
    CampaignChoiceMethods,
    ModelMethods,
    OfferConstraintMethods,
    OfferMethods,
    PolicyMethods,
    RecommendationMethods,
    SegmentMethods,
    SendTimeMethods,
    PredictionMethods,
    TrainingMethods,
):
    """campaigns.optimizer.v1.OptimizerService."""

    def __init__(
        self,
        *,
        affinity: AffinityOperations,
        campaign_choice: CampaignChoiceOperations,
        models: ModelOperations,
        offer_constraints: OfferConstraintOperations,
        offers: OfferOperations,
        outcomes: OutcomeOperations,
        policies: PolicyOperations,
        recommendations: RecommendationOperations,
        segments: SegmentOperations,
        send_times: SendTimeOperations,
        prediction: PredictionOperations,
        training: TrainingOperations,
    ) -> None:
        self.affinity = affinity
        self.campaign_choice = campaign_choice
        self.offer_constraints = offer_constraints
        self.models = models
        self.offers = offers
        self.outcomes = outcomes
        self.policies = policies
        self.recommendations = recommendations
        self.segments = segments
        self.send_times = send_times
        self.prediction = prediction
        self.training = training
