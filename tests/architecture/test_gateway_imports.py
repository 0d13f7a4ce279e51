import subprocess
import sys

CODE = """
import sys
import service.__main__, service.app
loaded = {"torch", "safetensors", "numpy"} & set(sys.modules)
assert not loaded, loaded
"""


def test_the_gateway_runs_without_the_workers_packages() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=60)
