"""Studies: many jobs from one base spec and a search space, with an analysis."""
