"""Every limit of a server and of a site, crossed on a real one: the answer, and that it has no effect."""
