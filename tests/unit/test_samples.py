"""The samples: one manifest each, one image, and the page that lists them."""

from __future__ import annotations

import re

import pytest

from kubewright.artifacts.image_recipes import references
from kubewright.releases import DEFAULT
from tests.support.samples import PAGE, ROOT, SAMPLES, Sample, page

EVERY = pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])


def test_every_folder_is_a_sample_with_its_manifest() -> None:
    assert {path.name for path in ROOT.iterdir() if path.is_dir()} == {sample.name for sample in SAMPLES}
    assert len(SAMPLES) >= 28


def test_the_page_is_made_from_the_samples() -> None:
    assert PAGE.read_text() == page(), "python -m tests.support.samples > samples/README.md"


@EVERY
def test_the_folder_has_nothing_but_the_manifest(sample: Sample) -> None:
    """kubectl applies every YAML file of a folder."""
    assert list((ROOT / sample.name).iterdir()) == [sample.manifest]


@EVERY
def test_a_sample_has_the_releases_test_image_and_no_other(sample: Sample) -> None:
    images = set(re.findall(r"image: (\S+)", sample.manifest.read_text()))
    assert images <= {references(DEFAULT)["agnhost"]}


@EVERY
def test_a_sample_fits_into_any_namespace(sample: Sample) -> None:
    assert [one["metadata"]["name"] for one in sample.documents if "namespace" in one["metadata"]] == []


@EVERY
def test_a_sample_has_something_to_try(sample: Sample) -> None:
    assert bool(sample.steps) != bool(sample.refused)
    for step in sample.steps:
        assert step.run.startswith("kubectl ") and re.compile(step.says), step


@EVERY
def test_commands_do_not_use_wgets_timeout(sample: Sample) -> None:
    """`wget -T` crashes in Debian's static busybox, which the lab's image has."""
    assert not [step for step in sample.steps if "wget -T" in step.run]
