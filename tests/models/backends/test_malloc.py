import platform
import subprocess
import sys

import pytest

from tests.support.samples import REPOSITORY

BYTES = 200_000_000

FAULTS_OF_A_SECOND_USE = """
import resource, sys, threading
from wsisr.models.backends.malloc import keep_freed_memory

if "keep" in sys.argv:
    keep_freed_memory()
faults = []
def twice():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        b"x" * BYTES
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=twice)
thread.start()
thread.join()
print(faults[1])
""".replace("BYTES", str(BYTES))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory as it likes")
def test_memory_that_a_thread_used_is_used_again_without_asking_the_system() -> None:
    def faults(*how: str) -> int:
        program = [sys.executable, "-c", FAULTS_OF_A_SECOND_USE, *how]
        return int(subprocess.run(program, cwd=REPOSITORY, check=True, capture_output=True).stdout)

    assert faults("keep") < faults() / 100
