"""Compiles, checks and submits the pipelines for Kubeflow Pipelines 2, and runs their steps in containers.

May import `driver`, `dag` and `observation`. The scripts for users are in the top-level folder `kubeflow/`.
"""
