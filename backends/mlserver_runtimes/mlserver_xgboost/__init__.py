"""XGBoost models in MLServer folders."""

from mlserver_xgboost.xgboost import XGBoostModel

__all__ = ["XGBoostModel"]
