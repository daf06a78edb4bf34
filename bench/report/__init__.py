"""Output of a run: the table on the terminal, the results as JSON, the chart."""
