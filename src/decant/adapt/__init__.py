"""Adaptations: which weights of a pretrained network are trained on the target task, when, and how fast.

The interface is `Adapt` in training/adaptation.py, because training must not depend on adaptations.
"""
