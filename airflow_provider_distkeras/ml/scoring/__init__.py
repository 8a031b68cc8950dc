"""Scoring: rows read, scored by a trained model and written; models compared."""
