"""Ensembles: models without instances, whose requests run through a graph of other models."""
