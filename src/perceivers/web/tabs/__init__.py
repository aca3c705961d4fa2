"""One file a tab; each registers itself under the name of its task."""

from perceivers.web.tabs import boxes, classes, clips, flow, images, sounds, spans, words

__all__ = ["boxes", "classes", "clips", "flow", "images", "sounds", "spans", "words"]
