"""The suite that forks children from this process comes first, while the process has no threads."""


def pytest_collection_modifyitems(items):
    # A child forked beside TensorFlow's and Beam's threads waits for ever for locks that they hold.
    items.sort(key=lambda item: item.path.name != "test_chaos.py")
