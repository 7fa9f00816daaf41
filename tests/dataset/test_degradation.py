"""Laws of making low resolution: what is drawn is done, light behaves as light, and files say what they mean."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from tests.support.captures import make_tissue
from tests.support.samples import REPOSITORY, make_noise
from wsisr.dataset.degradation import (
    ARCHIVE,
    CAPTURE,
    DEGRADATION_PRESETS,
    SCAN,
    Degradation,
    DegradationRound,
    choose_degradation,
    read_degradation,
)
from wsisr.dataset.degradation_steps import (
    MAX_NA,
    Blur,
    ChromaShift,
    Defocus,
    Jpeg,
    Lens,
    PatchScale,
    Sensor,
    Sharpening,
)
from wsisr.dataset.optics import (
    add_sensor_noise,
    apply_lens,
    average_light,
    light_to_srgb,
    optical_transfer,
    srgb_to_light,
)
from wsisr.errors import ConfigError
from wsisr.imaging.geometry import Size
from wsisr.imaging.jpeg import recompress_jpeg
from wsisr.imaging.pixels import shrink_image

SEEDS = st.integers(0, 10**6)
PRESETS = st.sampled_from(list(DEGRADATION_PRESETS.values()))
GREEN_UM = 0.54


@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([2, 4, 8]), PRESETS, SEEDS)
def test_the_same_draw_gives_the_same_patch_of_the_right_size(
    width: int, height: int, scale: int, preset: Degradation, seed: int
) -> None:
    high = make_noise(Size(width * scale, height * scale))
    (first, drawn), (again, told) = (preset(high, scale, 1.0, np.random.default_rng(seed)) for _ in range(2))
    assert first.shape == (height, width, 3)
    np.testing.assert_array_equal(first, again)
    assert drawn == told


@given(seed=SEEDS, scale=st.sampled_from([2, 4]), mpp=st.sampled_from([0.5, 1.0, 4.0]))
def test_what_was_drawn_lies_in_its_range_and_can_be_done_again(seed: int, scale: int, mpp: float) -> None:
    quiet = replace(CAPTURE, first=replace(CAPTURE.first, sensor=None))  # noise alone is not written down
    high = make_tissue(3, 128)
    low, drawn = quiet(high, scale, mpp, np.random.default_rng(seed))
    again = quiet.apply(high, PatchScale(scale, mpp), drawn, np.random.default_rng(0))
    np.testing.assert_array_equal(low, again)
    assert drawn["kernel"] in ("light", "area")
    assert 0.25 / mpp <= float(drawn["first.lens.na"] or 0) <= 0.4 / mpp
    assert 30 <= int(drawn["first.jpeg.quality"] or 0) <= 95
    assert drawn["first.jpeg.subsampling"] in ("4:2:0", "4:2:2", "4:4:4")
    assert 50 <= int(drawn.get("second.jpeg.quality", 50) or 0) <= 95


def test_shares_are_kept() -> None:
    drawn = [CAPTURE.draw(2, 1.0, np.random.default_rng(seed)) for seed in range(600)]
    assert sum("second.jpeg.quality" in each for each in drawn) == pytest.approx(180, abs=40)
    assert sum("first.sharpening.percent" in each for each in drawn) == pytest.approx(300, abs=50)
    assert sum(each["kernel"] == "light" for each in drawn) == pytest.approx(300, abs=50)


@given(seed=SEEDS, scale=st.sampled_from([2, 4]))
def test_scan_is_a_blur_an_area_mean_a_sharpening_and_a_jpeg(seed: int, scale: int) -> None:
    high, random = make_tissue(4, 128), np.random.default_rng(seed)
    sigma, percent = random.uniform(0, 0.6) * scale, round(random.uniform(0, 150))
    quality = int(random.integers(25, 96))
    blurred = (
        high
        if sigma < 0.1
        else np.asarray(cv2.GaussianBlur(high, (0, 0), sigma, borderType=cv2.BORDER_REFLECT), np.uint8)
    )
    sharp = Image.fromarray(shrink_image(blurred, scale, "area")).filter(ImageFilter.UnsharpMask(1, percent, 0))
    file = BytesIO()
    sharp.save(file, "JPEG", quality=quality, subsampling="4:2:0")
    low, _ = SCAN(high, scale, 1.0, np.random.default_rng(seed))
    np.testing.assert_array_equal(low, np.asarray(Image.open(file)))


@given(st.integers(0, 255), SEEDS)
def test_grey_stays_grey(level: int, seed: int) -> None:
    flat = np.full((32, 32, 3), level, np.uint8)
    low, _ = SCAN(flat, 2, 1.0, np.random.default_rng(seed))
    assert np.abs(low.astype(int) - level).max() <= 5  # one step of quality 30, for the mean of a block
    assert np.abs(apply_lens(flat, 0.5, 0.3, (0.6, 0.5, 0.4)).astype(int) - level).max() <= 1
    np.testing.assert_array_equal(average_light(flat, 2), flat[:16, :16])


@pytest.mark.parametrize("preset", DEGRADATION_PRESETS.values())
def test_it_stays_near_the_area_mean(preset: Degradation) -> None:
    for seed in range(5):
        high = make_tissue(seed, 128)
        low, _ = preset(high, 4, 1.0, np.random.default_rng(seed))
        assert np.abs(low.astype(int) - shrink_image(high, 4, "area")).mean() < 12


def test_the_archive_is_what_its_table_says() -> None:
    """The shares of the table in docs/training.md."""
    drawn = [ARCHIVE.draw(2, 1.0, np.random.default_rng(seed)) for seed in range(1000)]

    def share(name: str) -> float:
        return float(np.mean([any(key.startswith(name) for key in numbers) for numbers in drawn]))

    expected = {"defocus": 0.2, "blur": 0.4, "chroma_shift": 0.2, "sensor": 0.2, "sharpening": 0.35, "jpeg": 0.9}
    assert {name: share(f"first.{name}.") for name in expected} == pytest.approx(expected, abs=0.05)
    assert share("second.jpeg.") == pytest.approx(0.25, abs=0.05)
    assert choose_degradation("archive") is ARCHIVE
    with pytest.raises(ConfigError, match="no degradation is called 'archve'; known: scan, capture, archive"):
        choose_degradation("archve")


def test_out_of_focus_a_point_is_a_disc() -> None:
    point = np.zeros((33, 33, 3), np.uint8)
    point[16, 16] = 255
    disc = Defocus().apply(point, PatchScale(2, 1.0), {"radius_px": 2.0}, np.random.default_rng(0))[..., 0]
    distance = np.hypot(*(np.indices(disc.shape) - 16))
    assert np.ptp(disc[distance < 3.5]) == 0 < disc[16, 16]
    assert not disc[distance > 4.5].any()
    np.testing.assert_array_equal(
        Defocus().apply(point, PatchScale(2, 1.0), {"radius_px": 0.0}, np.random.default_rng(0)), point
    )


@given(x=st.integers(-3, 3), y=st.integers(-3, 3))
def test_a_chroma_shift_moves_red_and_blue_and_leaves_green(x: int, y: int) -> None:
    image = make_noise(Size(24, 20))
    numbers = {"red_x": x / 2, "red_y": y / 2, "blue_x": -x / 2, "blue_y": -y / 2}
    shifted = ChromaShift().apply(image, PatchScale(2, 1.0), numbers, np.random.default_rng(0))
    inner = np.s_[4:-4, 4:-4]
    np.testing.assert_array_equal(shifted[..., 1], image[..., 1])
    np.testing.assert_array_equal(shifted[inner][..., 0], np.roll(image, (y, x), axis=(0, 1))[inner][..., 0])
    np.testing.assert_array_equal(shifted[inner][..., 2], np.roll(image, (-y, -x), axis=(0, 1))[inner][..., 2])


def test_a_second_round_is_a_file_that_is_stored_again() -> None:
    first = DegradationRound(jpeg=Jpeg((40, 40)))
    twice = Degradation(first=first, second=DegradationRound(jpeg=Jpeg((80, 80), ("4:4:4",))))
    high = make_tissue(5, 64)
    low, _ = twice(high, 2, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(low, recompress_jpeg(recompress_jpeg(shrink_image(high, 2, "area"), 40), 80, "4:4:4"))


def test_light_is_what_srgb_stands_for() -> None:
    levels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    np.testing.assert_array_equal(light_to_srgb(srgb_to_light(levels)), levels)
    board = np.indices((8, 8)).sum(axis=0)[..., None].repeat(3, axis=2) % 2 * 255
    assert set(np.unique(average_light(board.astype(np.uint8), 2))) == {188}  # half the light is no half of 255


@given(na=st.floats(0.05, 0.95), wavelength=st.floats(0.4, 0.7))
def test_the_lens_passes_all_of_what_is_even_and_nothing_beyond_its_cut_off(na: float, wavelength: float) -> None:
    cut_off = 2 * na / wavelength
    passed = optical_transfer(np.linspace(0, 1.5 * cut_off, 301), na, wavelength)
    assert passed[0] == pytest.approx(1)
    assert (np.diff(passed) <= 1e-12).all()
    assert passed[200:] == pytest.approx(0)
    assert passed[100] == pytest.approx(0.391, abs=1e-3)  # half way: 2/pi (pi/3 - sqrt(3)/4)


def test_a_point_seen_through_the_lens_is_dark_at_airys_ring() -> None:
    """The first zero of Airy's pattern lies 0.61 wavelengths over NA from its middle."""
    na, frequencies = 0.5, np.linspace(0, 2 * 0.5 / GREEN_UM, 2001)
    angles = (np.arange(720) + 0.5) / 720 * np.pi

    def spread(radius: float) -> float:
        """By the Hankel transform of the transfer function, J0 by its integral."""
        j0 = np.cos(2 * np.pi * radius * frequencies[:, None] * np.sin(angles)).mean(axis=1)
        return float((optical_transfer(frequencies, na, GREEN_UM) * j0 * frequencies).sum())

    ring = 0.6098 * GREEN_UM / na
    assert abs(spread(ring)) < 1e-3 * spread(0)
    assert spread(0.7 * ring) > 0.02 * spread(0)


@pytest.mark.parametrize("cycles", [8, 20, 32])
def test_a_grating_loses_the_contrast_that_the_transfer_function_says(cycles: int) -> None:
    side, mpp, na = 128, 0.5, 0.3
    wave = np.cos(2 * np.pi * cycles * np.arange(side) / side)
    image = light_to_srgb(np.broadcast_to((0.5 + 0.4 * wave)[None, :, None], (side, side, 3)).astype(np.float32))
    seen = srgb_to_light(apply_lens(image, mpp, na, (GREEN_UM,) * 3))[side // 2, 32:-32, 1]
    due = optical_transfer(np.array([cycles / (side * mpp)]), na, GREEN_UM)[0]
    assert (seen * wave[32:-32]).sum() / (0.4 * (wave[32:-32] ** 2).sum()) == pytest.approx(due, abs=0.02)


@pytest.mark.parametrize("level", [60, 180])
def test_the_noise_of_a_sensor_is_that_of_counting_electrons(level: int) -> None:
    flat = np.full((128, 128, 3), level, np.uint8)
    light = srgb_to_light(add_sensor_noise(flat, 1000, 10, np.random.default_rng(1)))
    due = np.sqrt(srgb_to_light(flat)[0, 0, 0] * 1000 + 100) / 1000
    assert light.mean() == pytest.approx(srgb_to_light(flat)[0, 0, 0], rel=0.02)
    assert light.std() == pytest.approx(due, rel=0.05)


def test_the_aperture_grows_with_magnification_as_objectives_do() -> None:
    random = np.random.default_rng(0)
    apertures = [Lens((0.3, 0.3)).draw(random, PatchScale(2, mpp))["na"] for mpp in (2.0, 1.0, 0.5, 0.25)]
    assert apertures == pytest.approx([0.15, 0.3, 0.6, MAX_NA])
    assert Lens((0.3, 0.3), at_mpp=0).draw(random, PatchScale(2, 0.25))["na"] == 0.3


def read(folder: Path, text: str) -> Degradation:
    path = folder / "scanner.toml"
    path.write_text(text)
    return read_degradation(path)


def test_a_file_says_what_happens(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        kernels = { light = 1, bicubic = 1 }
        [first.lens]
        na = [0.2, 0.4]
        wavelengths_um = [0.6, 0.5, 0.4]
        [first.defocus]
        radius_px = [1, 2]
        [first.blur]
        sigma_px = 0.3
        [first.chroma_shift]
        shift_px = 0.1
        [first.sensor]
        electrons = [1000, 2000]
        [first.sharpening]
        percent = 80
        share = 0.25
        [first.jpeg]
        qualities = [30, 70]
        subsamplings = ["4:2:2", "4:4:4"]
        [second]
        share = 0.5
        [second.jpeg]
        qualities = 90
        """,
    )
    assert found == Degradation(
        {"light": 1.0, "bicubic": 1.0},
        DegradationRound(
            lens=Lens((0.2, 0.4), wavelengths_um=(0.6, 0.5, 0.4)),
            defocus=Defocus((1.0, 2.0)),
            blur=Blur((0.3, 0.3)),
            chroma_shift=ChromaShift((0.1, 0.1)),
            sensor=Sensor((1000.0, 2000.0)),
            sharpening=Sharpening((80.0, 80.0), share=0.25),
            jpeg=Jpeg((30, 70), ("4:2:2", "4:4:4")),
        ),
        DegradationRound(jpeg=Jpeg((90, 90)), share=0.5),
    )
    assert read(tmp_path, "") == Degradation()
    assert found.describe()["first.jpeg.qualities"] == "(30, 70)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("blur = 1", ": unknown key 'blur'; known: kernels, first, second"),
        (
            "[first.jpg]",
            ": first: unknown key 'jpg'; known: lens, defocus, blur, chroma_shift, sensor, sharpening, jpeg, share",
        ),
        ("[first.jpeg]\nquality = 3", ": first: jpeg: unknown key 'quality'; known: qualities, subsamplings, share"),
        ("[first.jpeg]\nqualities = [95, 30]", "is not a range: the least comes first"),
        ("[first.jpeg]\nqualities = [1, 2, 3]", "is not a range: give its least and its most, or one number"),
        ("[first.jpeg]\nqualities = 30.5", "= 30.5 is not a whole number"),
        ("[first.jpeg]\nqualities = 101", "first: jpeg: qualities must be from 1 to 100"),
        ('[first.jpeg]\nsubsamplings = ["4:1:1"]', "subsamplings are some of 4:2:0, 4:2:2, 4:4:4"),
        ("[first.jpeg]\nsubsamplings = 420", "is not a list of texts in quotes"),
        ("[first.lens]\nna = 0", "na must be above 0"),
        ("[first.lens]\nwavelengths_um = [0.5]", "needs three numbers above 0"),
        ("[first.blur]\nsigma_px = -1", "sigma_px must be from 0 to 16"),
        ("[first.defocus]\nradius_px = 17", "radius_px must be from 0 to 16"),
        ("[first.chroma_shift]\nshift_px = -1", "shift_px must be from 0 to 16"),
        ("[first.sensor]\nelectrons = 0", "electrons must be above 0"),
        ("[first.sharpening]\npercent = 2000", "percent must be from 0 to 1000"),
        ("[first]\nshare = 2", "a share must be from 0 to 1"),
        ("first = 5", "first = 5 is not a table"),
        ("kernels = { box = 1 }", "unknown kernel 'box'; known: area, bicubic, lanczos, light"),
        ("kernels = { area = 0 }", "the shares of kernels must be"),
        ("first = [", "not a TOML file"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "scanner.toml"))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_degradation(tmp_path / "none.toml")


def test_the_example_of_the_documentation_is_a_degradation(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "datasets.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "scanner.toml").write_text(example, encoding="utf-8")
    degradation = read_degradation(tmp_path / "scanner.toml")
    assert [name for name, _ in degradation.first.steps()] == [
        "lens",
        "defocus",
        "blur",
        "chroma_shift",
        "sensor",
        "sharpening",
        "jpeg",
    ]
    assert degradation.second is not None
