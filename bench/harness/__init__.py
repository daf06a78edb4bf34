"""The cost of the load-test harness itself, and a bare recv() loop to compare it with."""
