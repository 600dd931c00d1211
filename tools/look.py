"""Where to look: an overview and native-resolution crops; they lie with the guides, which look in the same way."""

from conservator.restorers.guides.views import Crop, Pixels, crops, overview

__all__ = ["Crop", "Pixels", "crops", "overview"]
