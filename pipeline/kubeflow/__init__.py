"""The same pipelines on Kubeflow Pipelines 2: compiled, checked, submitted, and run in containers.

May import `driver`, `dag` and `observation`. The top-level folder `kubeflow/` holds the scripts for users.
"""
