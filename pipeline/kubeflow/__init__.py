"""The same pipelines on Kubeflow Pipelines 2: compiled, checked, submitted, and run in containers.

May import `driver`, `dag` and `observation`. The scripts that users call lie in the top-level folder
`kubeflow/`.
"""
