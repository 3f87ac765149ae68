"""Gatefold on Kubeflow Pipelines: compile, run, schedule, and the image.

This folder is an ordinary package, so that it wins over a package of the same name that may be
installed.
"""
