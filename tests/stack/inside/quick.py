"""A recipe of two features, for tests that train often: will the rider tip, by how it was paid and how far it went?"""

from taxiway import Estimator, Recipe, Rule

recipe = Recipe(
    name="quick",
    description="Will the rider tip? By payment and distance alone.",
    task="classification",
    label="tip_amount > 0",
    features={},
    numeric=("trip_distance",),
    categorical=("payment_type",),
    known_after=("tip_amount", "total_amount"),
    rules=(Rule("paid_by_card_or_cash", "payment_type in (1, 2)"),),
    estimators=(Estimator("logistic_regression", sweep={"regParam": (0.01,)}),),
)
