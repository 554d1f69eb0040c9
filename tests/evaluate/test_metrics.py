"""Metrics against scikit-learn, on predictions that leave out a class and on labels that do."""

import numpy as np
import pytest
from sklearn import metrics as reference

from pipeline.evaluate import metrics

CLASSES = 6
EVERY = np.arange(CLASSES)


def predictions(never_predicted=None, never_there=None):
    """Random labels and predictions that agree more often than chance."""
    rng = np.random.default_rng(11)
    y_true = rng.choice([c for c in EVERY if c != never_there], 500)
    y_pred = np.where(rng.random(500) < 0.4, y_true, rng.integers(0, CLASSES, 500))
    return y_true, np.where(y_pred == never_predicted, (y_pred + 1) % CLASSES, y_pred)


CASES = {
    "every class": predictions(),
    "one never predicted": predictions(never_predicted=2),
    "one absent but predicted": predictions(never_there=3),
    "one neither there nor predicted": predictions(never_predicted=4, never_there=4),
    "the last one neither there nor predicted": predictions(never_predicted=5, never_there=5),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


def test_confusion_matrix_has_the_true_class_in_rows(case):
    expected = reference.confusion_matrix(*case, labels=EVERY)
    np.testing.assert_array_equal(metrics.confusion_matrix(*case, CLASSES), expected)


def test_accuracy_agrees(case):
    y_true, y_pred = case
    assert metrics.accuracy(np.eye(CLASSES)[y_pred], y_true) == reference.accuracy_score(*case)


def test_precision_recall_and_f1_agree_and_are_zero_where_undefined(case):
    expected = reference.precision_recall_fscore_support(*case, labels=EVERY, zero_division=0)[:3]
    np.testing.assert_allclose(metrics.precision_recall_f1(metrics.confusion_matrix(*case, CLASSES)), expected)


def test_macro_and_weighted_f1_agree(case):
    matrix = metrics.confusion_matrix(*case, CLASSES)
    for average, own in (("macro", metrics.macro_f1), ("weighted", metrics.weighted_f1)):
        expected = reference.f1_score(*case, labels=EVERY, average=average, zero_division=0)
        assert own(matrix) == pytest.approx(expected)


def test_cross_entropy_agrees_with_log_loss():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(CLASSES), 300)
    y_true = rng.integers(0, CLASSES, 300)
    expected = reference.log_loss(y_true, probabilities, labels=EVERY)
    assert metrics.cross_entropy(probabilities, y_true) == pytest.approx(expected)


def test_cross_entropy_of_a_sure_and_wrong_prediction_is_large_but_finite():
    assert metrics.cross_entropy(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(1e-7))


def test_results_are_plain_floats_that_json_can_hold():
    matrix = metrics.confusion_matrix(*CASES["every class"], CLASSES)
    for own in (metrics.macro_f1, metrics.weighted_f1):
        assert type(own(matrix)) is float
    for own in (metrics.accuracy, metrics.cross_entropy):
        assert type(own(np.full((2, 2), 0.5, np.float32), np.array([0, 1]))) is float


def test_confused_pairs_count_both_directions_and_leave_out_pairs_that_are_never_confused():
    matrix = np.array([[9, 1, 4], [5, 9, 0], [0, 0, 9]])
    assert metrics.confused_pairs(matrix, 5) == [(0, 1), (0, 2)], "1 + 5 before 4"
    assert metrics.confused_pairs(matrix, 1) == [(0, 1)]


def test_reliability_puts_each_image_into_the_bin_of_its_confidence():
    probabilities = np.array([[0.95, 0.05], [0.9, 0.1], [0.35, 0.65], [0.0, 1.0]])
    count, confidence, accuracy = metrics.reliability(probabilities, np.array([0, 1, 1, 1]), bins=10)
    np.testing.assert_array_equal(count, [0, 0, 0, 0, 0, 0, 1, 0, 0, 3])
    assert confidence[6] == pytest.approx(0.65) and confidence[9] == pytest.approx(2.85 / 3)
    assert accuracy[6] == 1 and accuracy[9] == pytest.approx(2 / 3)


def test_calibration_error_is_the_gap_that_was_put_in():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.6, 0.9, 200_000)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    for gap in (0.0, 0.1):
        labels = (rng.random(len(confidence)) > confidence - gap).astype(int)
        assert metrics.expected_calibration_error(probabilities, labels) == pytest.approx(gap, abs=0.01)


def test_classes_that_are_taken_for_each_other_are_neighbors_in_the_order_of_similarity():
    matrix = 90 * np.eye(6, dtype=int)
    for a, b in ((0, 3), (1, 4), (2, 5)):
        matrix[a, b] = 10
    order = metrics.similarity_order(matrix).tolist()
    assert sorted(order) == list(range(6))
    assert all(abs(order.index(a) - order.index(a + 3)) == 1 for a in range(3))
    for n in (1, 2):
        assert metrics.similarity_order(np.eye(n, dtype=int)).tolist() == list(range(n))
    assert sorted(metrics.similarity_order(np.zeros((4, 4), int)).tolist()) == [0, 1, 2, 3], "no images at all"
