"""What drives the browser runs on a minimal Debian."""

import subprocess
from pathlib import Path

from playwright._impl._driver import compute_driver_executable


def test_the_driver_needs_no_library_that_a_minimal_debian_lacks():
    node = Path(compute_driver_executable()[0])
    libraries = subprocess.run(["ldd", node], check=True, capture_output=True, text=True).stdout
    assert "libc.so" in libraries
    assert "libatomic" not in libraries
