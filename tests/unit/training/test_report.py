import base64
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_models.manifest import Checkpoint, Score
from sr_models.upscaler import Upscaler
from tests.tiny_checkpoints import publish
from tests.unit.training.conftest import soft_noise
from training.dataset import read_pairs
from training.report import crops, detailed_place, report
from training.score_table import Row
from training.scores import luma

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One set of three pictures, one of them with a name that tries to be markup."""
    folder = tmp_path_factory.mktemp("data") / "Set5"
    folder.mkdir()
    for number, name in enumerate(("a", "b", '<img src=x onerror="alert(1)">&')):
        Image.fromarray(soft_noise(number, 180, 200)).save(folder / f"{name}.png")
    return folder.parent


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Checkpoint]:
    folder = tmp_path_factory.mktemp("published")
    return [publish(folder, family, 4) for family in ("bicubic", "espcn")]


@pytest.fixture(scope="module")
def rows(checkpoints: list[Checkpoint]) -> list[Row]:
    score = Score("Set5", 30.456, 0.8657, "p", rgb_psnr_db=28.1, lr_psnr_db=41.2, st_lpips=0.123)
    return [Row(c.manifest.label, 4, (score,), 24_752, 10**9, 0.25) for c in checkpoints]


class Page(HTMLParser):
    """What stands in a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_the_page_holds_tables_and_pictures_and_loads_nothing(
    rows: list[Row], checkpoints: list[Checkpoint], data: Path
) -> None:
    html = report(rows, checkpoints, data)
    page = Page(html)
    assert len(page.named("table")) == 2
    assert "30.46 / 0.8657" in page.text
    images = page.named("img")
    assert [image["alt"] for image in images] == 2 * ["LR, as it is", "bicubic-x4@1", "espcn-x4@1", "HR"]
    sizes = []
    for image in images:
        source = image["src"] or ""
        assert source.startswith("data:image/webp;base64,")
        sizes.append(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).size)
    assert sizes == 2 * [(36, 36), (144, 144), (144, 144), (144, 144)]
    assert not [a for _, a in page.tags if "href" in a or "onerror" in a]
    assert "'none'" in str(page.named("meta")), "the policy that forbids to load anything"
    assert '<img src=x onerror="alert(1)">&.png' in page.text, "as text, not as markup"
    assert len(html) < 500_000


def test_a_crop_is_a_part_of_the_whole_result(
    rows: list[Row], checkpoints: list[Checkpoint], data: Path
) -> None:
    shown = crops(rows, checkpoints, data)
    pairs = {f"Set5: {pair.name}, x4, LR by MATLAB bicubic": pair for pair in read_pairs(data / "Set5", 4)}
    for crop in shown:
        pair = pairs[crop.title]
        top, left = (4 * place for place in detailed_place(luma(pair.lr), 36))
        part = np.s_[top : top + 144, left : left + 144]
        np.testing.assert_array_equal(crop.panels["HR"], pair.hr[part])
        for checkpoint in checkpoints:
            whole = Upscaler.from_checkpoint(checkpoint).upscale(pair.lr)
            # Sums in another order may round a sample to the next level.
            np.testing.assert_allclose(
                crop.panels[checkpoint.manifest.label].astype(int), whole[part].astype(int), atol=1
            )


def test_the_part_is_where_there_is_something_to_see() -> None:
    picture = np.zeros((50, 60))
    picture[30:40, 20:30] = np.indices((10, 10)).sum(axis=0) % 2 * 100
    top, left = detailed_place(picture, 12)
    assert 28 <= top <= 30
    assert 18 <= left <= 20


def test_each_degradation_has_its_crops(rows: list[Row], checkpoints: list[Checkpoint], data: Path) -> None:
    photo = replace(rows[0].scores[0], degradation="photo")
    both = [replace(row, scores=(*row.scores, photo)) for row in rows]
    titles = [crop.title for crop in crops(both, checkpoints, data)]
    assert len(titles) == 4
    assert sum("JPEG" in title for title in titles) == 2


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_shows_two_models_and_the_keyboard_moves_the_edge(
    rows: list[Row], checkpoints: list[Checkpoint], data: Path, tmp_path: Path
) -> None:
    """The page's own script runs; then one appended here acts as a user and writes down what it sees."""
    user = """
      const section = document.querySelector(".crop"), range = section.querySelector("input");
      const [left, right] = section.querySelectorAll("select");
      const pictures = [...section.querySelectorAll("figure img")].map(image => image.src);
      const shown = () => ["left", "right"].map(side => pictures.indexOf(section.querySelector("img." + side).src));
      const seen = [left.options.length, ...shown(), section.querySelector("img.left").style.clipPath];
      left.selectedIndex = 3; left.dispatchEvent(new Event("change"));
      range.focus(); range.stepDown(20); range.dispatchEvent(new Event("input"));
      seen.push(...shown(), section.querySelector("img.left").style.clipPath, document.activeElement === range);
      seen.push(range.getAttribute("aria-label").length > 0, document.documentElement.scrollWidth <= innerWidth);
      const note = document.createElement("pre"); note.id = "seen"; note.textContent = JSON.stringify(seen);
      document.body.append(note);
    """
    page = tmp_path / "page.html"
    page.write_text(
        report(rows, checkpoints, data).replace("</body>", f"<script>{user}</script></body>"), "utf-8"
    )
    browser = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=500,900",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', browser.stdout)
    assert found, browser.stdout[-500:] + browser.stderr[-2000:]
    assert found[1] == ('[4,1,2,"inset(0px 50% 0px 0px)",3,2,"inset(0px 70% 0px 0px)",true,true,true]')
