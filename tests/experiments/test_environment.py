"""Settings made before JAX starts, seen from a script of its folder."""

import os
import shutil
import subprocess
import sys

import pytest
from run_checks import ROOT

PROBE = """
import environment
environment.set_environment()
import os
print(os.environ.get("GLIBC_TUNABLES"), os.environ.get("XLA_FLAGS"), os.getpid(), sep="\\n")
"""


@pytest.fixture
def scripts(tmp_path):
    """A folder with the module and a script that tells what it finds; pages on request."""
    shutil.copy(ROOT / "experiments/environment.py", tmp_path)
    module = tmp_path / "environment.py"
    mode = tmp_path / "enabled"
    mode.write_text("always [madvise] never")
    text = module.read_text()
    assert "/sys/kernel/mm/transparent_hugepage/enabled" in text
    module.write_text(text.replace("/sys/kernel/mm/transparent_hugepage/enabled", str(mode)))
    (tmp_path / "probe.py").write_text(PROBE)
    return tmp_path


def run(command, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("GLIBC_TUNABLES", "XLA_FLAGS")}
    process = subprocess.Popen(
        [sys.executable, *command], env=kept | environment, stdout=subprocess.PIPE, text=True
    )
    tunables, flags, number = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 0
    assert int(number) == process.pid  # whoever waits for it, or stops it, finds it
    return tunables, flags


def test_a_script_has_huge_pages_where_the_system_gives_them_on_request(scripts):
    assert run([scripts / "probe.py"])[0] == "glibc.malloc.hugetlb=1"
    (scripts / "enabled").write_text("[always] madvise never")
    assert run([scripts / "probe.py"])[0] == "None"
    (scripts / "enabled").unlink()
    assert run([scripts / "probe.py"])[0] == "None"


def test_what_the_user_has_set_stays(scripts):
    found, _ = run([scripts / "probe.py"], GLIBC_TUNABLES="glibc.malloc.hugetlb=0")
    assert found == "glibc.malloc.hugetlb=0"
    found, _ = run([scripts / "probe.py"], GLIBC_TUNABLES="glibc.malloc.check=1")
    assert found == "glibc.malloc.check=1:glibc.malloc.hugetlb=1"


def test_only_a_script_of_its_folder_is_started_again(scripts):
    assert run(["-c", f"import sys; sys.path.insert(0, {str(scripts)!r})\n{PROBE}"])[0] == "None"


def test_xla_takes_the_last_flag_so_the_users_come_last(scripts):
    _, flags = run([scripts / "probe.py"], XLA_FLAGS="--xla_cpu_prefer_vector_width=256")
    assert flags.split()[-1] == "--xla_cpu_prefer_vector_width=256"
    assert len(set(flags.split())) == len(flags.split())
