"""The coordinating process: the phases of a run, and the private server that it may need."""
