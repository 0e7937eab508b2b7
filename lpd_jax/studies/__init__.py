"""Our own experiments, their tables and plots.

The launch scripts `study_steps.py`, `study_models.py`, `analyze.py` and `train_classifier.py` run
them. Nothing else needs this room.
"""
