"""Arrays that depend on data and parameters only: computed once per machine, then mapped by all runs that ask."""

from bt_framework.features.cache import Arrays, FeatureCache, Stored
from bt_framework.features.feature import Feature, Input, feature, input_of
from bt_framework.features.given import RunFeatures

__all__ = ["Arrays", "Feature", "FeatureCache", "Input", "RunFeatures", "Stored", "feature", "input_of"]
