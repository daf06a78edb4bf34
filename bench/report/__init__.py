"""What is shown of a run: the table on the terminal, the file of results, the chart."""
