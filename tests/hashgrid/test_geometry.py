import pytest

from condense_nerfstudio.hashgrid.geometry import grid_levels


@pytest.mark.parametrize(
    ("num_levels", "base", "finest", "resolutions"),
    [
        # From the formulas of tiny-cuda-nn compiled as C++ (std::log2 and exp2f in float).
        (16, 16, 2048, [16, 23, 31, 43, 59, 81, 112, 154, 213, 295, 407, 562, 777, 1073, 1483, 2048]),
        (16, 16, 1024, [16, 22, 28, 37, 49, 65, 85, 112, 148, 195, 257, 338, 446, 589, 777, 1025]),
        (16, 16, 4096, [16, 24, 34, 49, 71, 102, 148, 213, 308, 446, 646, 934, 1352, 1956, 2831, 4096]),
        (5, 16, 256, [16, 32, 64, 128, 256]),
        (12, 10, 3000, [10, 17, 29, 48, 80, 134, 225, 378, 634, 1064, 1787, 3000]),
        (1, 16, 2048, [16]),
    ],
)
def test_resolutions_are_those_of_tiny_cuda_nn(num_levels, base, finest, resolutions):
    assert [level.resolution for level in grid_levels(num_levels, 19, base, finest)] == resolutions


def test_scales_are_rounded_as_in_tiny_cuda_nn():
    levels = grid_levels(16, 19, 16, 2048)
    expected = ["0x1.ep+3", "0x1.51c50ap+4", "0x1.d8e0fep+4", "0x1.49cb44p+5"]
    assert [level.scale for level in levels[:4]] == [float.fromhex(scale) for scale in expected]
    assert levels[15].scale == float.fromhex("0x1.ffbfeap+10")


def test_levels_take_a_multiple_of_eight_rows_up_to_the_table_size():
    levels = grid_levels(16, 14, 16, 2048)
    assert [level.entries for level in levels] == [16**3, (23**3 + 7) // 8 * 8] + [2**14] * 14
    assert [level.hashed for level in levels] == [False, False] + [True] * 14
    assert [level.offset for level in levels[:4]] == [0, 4096, 4096 + 12168, 4096 + 12168 + 2**14]


def test_a_level_that_just_fits_is_dense():
    (level,) = grid_levels(1, 12, 16, 16)
    assert (level.entries, level.hashed) == (4096, False)
    (level,) = grid_levels(1, 12, 17, 17)
    assert (level.entries, level.hashed) == (4096, True)


def test_a_level_whose_cells_overflow_uint32_is_hashed():
    (level,) = grid_levels(1, 30, 1626, 1626)
    assert (level.entries, level.hashed) == (2**30, True)
