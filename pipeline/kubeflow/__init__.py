"""The same pipelines on Kubeflow: compiled, checked, submitted, and run step by step in containers."""
