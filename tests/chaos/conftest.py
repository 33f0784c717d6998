"""Runs test_chaos.py first: it forks this process, which must not have started threads yet."""


def pytest_collection_modifyitems(items):
    # A child that is forked while TensorFlow's or Beam's threads hold locks waits for them forever.
    items.sort(key=lambda item: item.path.name != "test_chaos.py")
