"""Measure quality and training time of the models beside rivals, on known densities and on small real tables."""
