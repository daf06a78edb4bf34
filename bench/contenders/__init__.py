"""Who is measured: ours, the peers, and the floor."""
