import pytest

from tests.unit.service.conftest import World, publish

pytestmark = pytest.mark.anyio


async def test_families_with_their_scales_and_versions(world: World) -> None:
    response = await world.client.get("/models")
    assert response.status_code == 200
    listed = response.json()
    assert listed["auto"] == {"2": "espcn-x2@1", "3": "espcn-x3@1", "4": "espcn-x4@1"}
    assert [(m["model"], m["scales"]) for m in listed["models"]] == [
        ("bicubic", [2, 3, 4]),
        ("espcn", [2, 3, 4]),
        ("srgan", [4]),
    ]
    espcn = listed["models"][1]["versions"]
    assert [(v["checkpoint"], v["production"]) for v in espcn] == [
        ("espcn-x2@1", True),
        ("espcn-x3@1", True),
        ("espcn-x4@1", True),
        ("espcn-x4@2", False),
    ]
    assert espcn[0]["scores"] == [
        {
            "benchmark": "Set5",
            "psnr_db": 30.5,
            "ssim": 0.87,
            "degradation": "bicubic",
            "rgb_psnr_db": None,
            "lr_psnr_db": None,
            "st_lpips": None,
        }
    ]


async def test_a_new_version_is_seen_at_once(world: World) -> None:
    publish(world.checkpoints, "edsr-baseline", 4, psnr_db=32.1)
    listed = (await world.client.get("/models")).json()
    assert listed["auto"]["4"] == "edsr-baseline-x4@1"
    assert (await world.post({"model": "edsr-baseline"})).status_code == 202
