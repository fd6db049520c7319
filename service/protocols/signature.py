"""The names of the tensors, the same for every model and in both protocols."""

from __future__ import annotations

INPUT, LOGITS, PROBABILITIES = "pixels", "logits", "probabilities"

OUTPUTS = (LOGITS, PROBABILITIES)
