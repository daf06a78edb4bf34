"""The judgement of a run: totals, checks, thresholds, whether the generator kept up. Pure."""
