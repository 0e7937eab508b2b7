"""Labels as people have them: from tables, and by names that several classes share."""

import numpy as np
import pytest

from lpd_jax.generation.request import resolve_labels


@pytest.mark.parametrize(
    "labels",
    [
        np.ma.array([0, 1, 2], mask=[False, False, True]),
        np.array([0.0, 1.0, np.nan]),  # a column of whole numbers with an empty cell
        np.ma.array([0.0, 1.0, 2.0], mask=[False, False, True]),
    ],
)
def test_a_cell_without_a_label_is_named_and_not_drawn(labels):
    with pytest.raises(ValueError, match="^labels: got none at index 2, where it is masked or NaN"):
        resolve_labels(labels, 3, [])


def test_a_masked_array_without_gaps_is_an_array():
    labels = np.ma.array([2, 0], mask=[False, False])
    assert resolve_labels(labels, 3, []).tolist() == [2, 0]


def test_a_name_of_several_classes_is_no_label():
    names = ["crane", "owl", "crane", "cafe\u0301", "caf\u00e9"]
    words = "^labels: got 'crane', the name of several classes; allowed is the number of one: 0, 2$"
    with pytest.raises(ValueError, match=words):
        resolve_labels("crane", 5, names)
    with pytest.raises(ValueError, match="the number of one: 3, 4$"):
        resolve_labels(["owl", "caf\u00e9"], 5, names)
    assert resolve_labels(["owl", 2, "0"], 5, names).tolist() == [1, 2, 0]
