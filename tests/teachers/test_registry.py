import subprocess
import sys

import pytest

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.registry import LANGUAGE_TEACHER_NAMES, load_language_teacher, load_teacher


def test_configuring_loads_no_heavy_library():
    script = (
        "import sys, condense_nerfstudio.teachers.config, condense_nerfstudio.teachers.registry;"
        "print([name for name in ('torch', 'transformers', 'torchvision', 'numpy') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_loading_none_names_the_teachers_that_exist():
    with pytest.raises(UserError, match=r"'none'.*dinov2, clip, efficientnet, conse"):
        load_teacher(TeacherConfig("none"))


@pytest.mark.parametrize(
    ("config", "flag"),
    [
        (TeacherConfig("clip", layer=3), "--pipeline.datamanager.language.layer"),
        (TeacherConfig("conse", model="folder"), "--pipeline.datamanager.language.model"),
        (TeacherConfig("efficientnet", model="folder"), "--pipeline.datamanager.visual.model"),
        (TeacherConfig("dinov2", resolution=0), "--pipeline.datamanager.visual.resolution"),
    ],
)
def test_options_that_do_not_fit_are_named_by_their_flag(config, flag):
    with pytest.raises(UserError, match=flag):
        load_teacher(config)


def test_asking_a_visual_teacher_for_text_names_the_language_teachers():
    with pytest.raises(UserError, match=r"'dinov2' does not understand text.*clip or conse"):
        load_language_teacher(TeacherConfig("dinov2"))
    assert LANGUAGE_TEACHER_NAMES == ("clip", "conse")
