"""What a run does: options, schedule, spread over items, thresholds. Pure but for reading a scenario."""
