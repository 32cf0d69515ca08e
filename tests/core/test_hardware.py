import pytest

from resources.errors import SettingError
from synth_assets.core.hardware import GPUS, Hardware


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("4xH100-SXM", "4xH100-SXM"),
        ("2xl40s", "2xL40S"),
        (" 8 x H200 SXM ", "8xH200-SXM"),
        ("B200", "1xB200"),
        ("nvidia-a100", "1xA100-80-SXM"),
        ("16×H100", "16xH100-SXM"),
    ],
)
def test_a_hardware_setting_is_read_whatever_its_case_and_punctuation(setting: str, name: str) -> None:
    assert Hardware.parse(setting).name == name


def test_every_catalogue_entry_can_be_named_in_the_setting() -> None:
    for gpu in GPUS:
        assert Hardware.parse(f"3x{gpu.name}").gpu is gpu


@pytest.mark.parametrize("setting", ["", "  ", "4x", "0xH100-SXM", "TPUv5", "4xH100x", "-1xL40S", "1.5xB200"])
def test_hardware_that_is_not_known_is_refused_with_what_is_accepted(setting: str) -> None:
    with pytest.raises(SettingError) as error:
        Hardware.parse(setting)
    assert "COST_HARDWARE" in str(error.value)
    assert repr(setting) in str(error.value)
    assert all(gpu.name in str(error.value) for gpu in GPUS)


def test_the_price_is_the_catalogues_unless_one_is_set() -> None:
    assert Hardware.parse("H100").usd_per_gpu_hour == Hardware.parse("H100", "").gpu.usd_per_hour
    assert Hardware.parse("H100", "1.5").usd_per_gpu_hour == 1.5
    assert Hardware.parse("H100", 0).usd_per_gpu_hour == 0


@pytest.mark.parametrize("price", ["two", "-1", "nan", "inf"])
def test_a_price_that_is_no_number_is_refused(price: str) -> None:
    with pytest.raises(SettingError, match="COST_GPU_HOUR_USD"):
        Hardware.parse("H100", price)


def test_several_gpus_add_up() -> None:
    four = Hardware.parse("4xH100-SXM")
    assert four.bandwidth_bytes_per_second == pytest.approx(13.4e12)
    assert four.memory_bytes == pytest.approx(320e9)
    assert four.peak_flops_per_second() == pytest.approx(3956e12)


def test_fp8_weights_use_the_fp8_units_only_where_there_are_any() -> None:
    assert Hardware.parse("H100").peak_flops_per_second(1.0) == pytest.approx(1979e12)
    assert Hardware.parse("A100").peak_flops_per_second(1.0) == pytest.approx(312e12)


def test_four_bit_weights_are_multiplied_in_16_bits() -> None:
    assert Hardware.parse("H100").peak_flops_per_second(0.53125) == pytest.approx(989e12)


@pytest.mark.parametrize(
    ("gpu", "gigabytes_per_second"), [("A100", 300), ("L40S", 32), ("H100", 450), ("H200", 450), ("B200", 900)]
)
def test_a_link_is_counted_in_one_direction(gpu: str, gigabytes_per_second: float) -> None:
    assert Hardware.parse(gpu).gpu.link_bytes_per_second == gigabytes_per_second * 1e9


def test_every_gpu_says_where_its_figures_come_from() -> None:
    assert all(gpu.source.startswith("https://www.nvidia.com/") for gpu in GPUS)
    assert all(gpu.price_source for gpu in GPUS)
