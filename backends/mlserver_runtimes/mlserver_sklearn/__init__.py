"""scikit-learn models in MLServer folders."""

from mlserver_sklearn.sklearn import SKLearnModel

__all__ = ["SKLearnModel"]
