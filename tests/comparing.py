"""What two runs must agree on, read from what they left."""

import numpy as np
import tensorflow as tf

from components.label_store.schemes import open_store


def sets_by_key(store_uri):
    """Key -> everything of a published set but its id and its times; the checksum is of its rows."""
    sets = open_store(store_uri).list_sets()
    assert len({record.key for record in sets}) == len(sets)
    return {
        record.key: (record.checksum, record.rows, record.rows_per_surface, record.facts.feature_version)
        for record in sets
    }


def variables_of(state_folder):
    """Name -> value of a training state: weights, slots and steps."""
    reader = tf.train.load_checkpoint(f"{state_folder}/variables")
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {name: reader.get_tensor(name) for name in names}


def assert_bit_equal(first, second, what):
    """Both are training states' folders; returns how many variables were compared."""
    ours, theirs = variables_of(first), variables_of(second)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=f"{what}: {name}")
    return len(ours)
