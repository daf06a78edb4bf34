"""What is measured: latencies, updates received, violations of the contract. Pure."""
