"""What both sides of kerasd share: the job spec, its states, recipes, tables and repositories."""
