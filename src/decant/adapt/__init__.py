"""Adaptations: which weights of a pretrained network are trained on the target task, when, and how fast.

The interface, `Adapt`, is in training/adaptation.py: training knows no adaptation.
"""
