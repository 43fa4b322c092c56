from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from pyserver.protocol.mlserver_metrics import Counted, render


def test_names_and_labels_are_mlserver_s() -> None:
    page = render([Counted("m", "v1", 5, 2, 1_500_000_000), Counted("n", "", 0, 0, 0)]).decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert set(families) == {
        "model_infer_request_success", "model_infer_request_failure", "model_infer_request_duration",
    }  # fmt: skip
    first, second = families["model_infer_request_success"].samples
    assert (first.name, first.value) == ("model_infer_request_success_total", 5.0)
    assert first.labels == {"model": "m", "version": "v1", "model_name": "m", "model_version": "v1"}
    assert second.labels == {"model": "n", "version": "None", "model_name": "n", "model_version": ""}
    assert families["model_infer_request_failure"].samples[0].value == 2.0
    durations = families["model_infer_request_duration"].samples[:2]
    assert [(each.name, each.value) for each in durations] == [
        ("model_infer_request_duration_count", 5.0),
        ("model_infer_request_duration_sum", 1.5),
    ]


def test_no_models_no_families() -> None:
    assert render([]) == b""


def test_a_queue_follows_from_the_sizes_of_batches() -> None:
    page = render([Counted("m", "v1", 5, 0, 0, {1: 2, 3: 1}), Counted("n", "", 1, 0, 0)]).decode()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    samples = {(each.name, each.labels.get("le")): each.value for each in families["batch_request_queue"].samples}
    assert all(each.labels["model_name"] == "m" for each in families["batch_request_queue"].samples)
    # Three found nobody, one the first, one the first two.
    bounds = ("0.005", "1", "2.5", "+Inf")
    assert [samples["batch_request_queue_bucket", bound] for bound in bounds] == [3, 4, 5, 5]
    assert (samples["batch_request_queue_sum", None], samples["batch_request_queue_count", None]) == (3, 5)
