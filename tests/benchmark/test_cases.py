import json

import pytest
import torch

from perceivers.benchmark import GROWTH, WORKLOADS, Case, find_cases
from perceivers.benchmark.cases import GROWTH_MAX
from perceivers.config import from_json, to_json
from perceivers.model import PerceiverIO
from perceivers.pretrained.hf import describe

CLASSIFIER = "PerceiverForImageClassification"
PORT = {
    "video": "PerceiverForMultimodalAutoencoding",
    "flow": "PerceiverForOpticalFlow",
    "fill-mask": "PerceiverForMaskedLM",
    "text": "PerceiverForMaskedLM",
    "image-fourier": f"{CLASSIFIER}Fourier",
    "image-learned": f"{CLASSIFIER}Learned",
    "image-conv": f"{CLASSIFIER}ConvProcessing",
    "train-fourier": f"{CLASSIFIER}Fourier",
    "train-text": "PerceiverForSequenceClassification",
    "inputs": f"{CLASSIFIER}Fourier",
    "outputs": "PerceiverForMultimodalAutoencoding",
    "latents": f"{CLASSIFIER}Fourier",
}


@pytest.mark.parametrize("quick", [False, True])
def test_transformers_has_every_model(quick: bool) -> None:
    cases = find_cases([], quick=quick, growth=True)
    assert {case.workload for case in cases} == set(PORT)
    for case in cases:
        with torch.device("meta"):
            model = PerceiverIO(case.config)
        assert describe(model, exact=False)[0] == PORT[case.workload]


def test_cases_travel_as_json() -> None:
    for case in find_cases([], growth=True, growth_max=2**12):
        assert from_json(Case, json.loads(json.dumps(to_json(case)))) == case


def test_curves_grow_fourfold_up_to_the_largest() -> None:
    assert [case.size for case in find_cases(["inputs"], growth_max=70_000)] == [1024, 4096, 16384, 65536]
    assert [case.size for case in find_cases(["outputs"])][-1] == GROWTH_MAX == 1_048_576
    # A million is meant to be reached.
    assert [case.size for case in find_cases(["inputs"], growth_max=1_000_000)][-1] == 1_048_576
    assert [case.size for case in find_cases(["inputs"], growth_max=900_000)][-1] == 262_144
    assert [case.size for case in find_cases(["latents"])] == [64, 128, 256, 512, 1024, 2048]
    assert {case.workload for case in find_cases([])} == set(WORKLOADS)


def test_curves_join_what_is_named() -> None:
    def found(*names: str) -> set[str]:
        return {case.workload for case in find_cases(names, growth=True, growth_max=1024)}

    assert found() == {*WORKLOADS, *GROWTH}
    assert found("flow") == {"flow", *GROWTH}
    assert found("flow", "latents") == {"flow", "latents"}


def test_sizes_of_curves_are_those_of_the_models() -> None:
    for case in find_cases(["outputs", "inputs"], growth_max=2**14):
        with torch.device("meta"):
            model = PerceiverIO(case.config)
            batch = model.inputs.example_batch(1)
            if case.workload == "inputs":
                assert model.inputs(batch).values.shape[1] == case.size
            else:
                grid = model.queries.output_grid(model.inputs(batch))
                assert isinstance(grid, dict)
                assert torch.Size(grid["video"]).numel() == case.size


def test_what_quick_cuts_is_said() -> None:
    cut = 0
    for full, quick in zip(find_cases([]), find_cases([], quick=True), strict=True):
        same = {**to_json(quick), "note": full.note} == to_json(full)
        assert same == ("quick" not in quick.note), full.workload
        cut += not same
    assert cut > 0


def test_errors_of_long_curves_are_not_looked_at() -> None:
    checked = {case.size: case.check_error for case in find_cases(["inputs"])}
    assert checked[65536]
    assert not checked[262144]


def test_the_sentence_hides_what_its_note_says() -> None:
    case = WORKLOADS["fill-mask"]
    assert len(case.text.encode()) == 60
    assert case.text.count(case.hide) * len(case.hide) == 12
    assert "60 bytes, 12 of them" in case.note


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"workload 'films' not found; choices = \['video', 'flow'"):
        find_cases(["films"])
