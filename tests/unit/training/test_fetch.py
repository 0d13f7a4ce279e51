import hashlib
from pathlib import Path

from click.testing import CliRunner

from tests.unit.training.file_server import serving
from tests.unit.training.test_div2k import ARCHIVES
from training.fetch import fetch


def test_div2k_is_fetched_from_a_mirror(tmp_path: Path) -> None:
    sums = tmp_path / "sums"
    sums.write_text("".join(f"{hashlib.sha256(c).hexdigest()}  {name}\n" for name, c in ARCHIVES.items()))
    out = tmp_path / "div2k"
    with serving(ARCHIVES) as server:
        command = [
            "div2k",
            "--out",
            str(out),
            "--scale",
            "4",
            "--base-url",
            server.url,
            "--checksums",
            str(sums),
        ]
        result = CliRunner().invoke(fetch, command, catch_exceptions=False)
    assert result.exit_code == 0
    assert f"DIV2K lies in {out}. Train on it" in result.output
    assert (out / "DIV2K_valid_LR_bicubic/X4/0801x4.png").exists()


def test_a_mistake_is_answered_in_one_line(tmp_path: Path) -> None:
    with serving({}) as server:
        result = CliRunner().invoke(fetch, ["div2k", "--out", str(tmp_path), "--base-url", server.url])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "DIV2K_train_HR.zip cannot be fetched: the server answered 404" in result.output
