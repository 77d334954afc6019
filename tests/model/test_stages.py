from itertools import chain

import pytest
import timm
import torch
from torch import nn

from emotion_lightning.errors import UsageError
from emotion_lightning.model.backbone import Backbone
from emotion_lightning.model.body import check_sizes
from emotion_lightning.model.stages import BACKBONE_STAGES, stage_of_parameters

SMALLEST = {
    "beit": "beit_base_patch16_224",
    "byoanet": "halonet_h1",
    "byobnet": "test_byobnet",
    "cait": "cait_xxs24_224",
    "coat": "coat_tiny",
    "convit": "convit_tiny",
    "convmixer": "convmixer_768_32",
    "convnext": "test_convnext",
    "cpubone": "cpubone_nano",
    "crossvit": "crossvit_tiny_240",
    "csatv2": "csatv2",
    "cspnet": "cs3darknet_focus_s",
    "cspnext": "cspnext_tiny",
    "davit": "davit_tiny",
    "deepseek_vit": "deepseek_vit_412m",
    "deit": "deit_tiny_patch16_224",
    "densenet": "densenet121",
    "dla": "dla46x_c",
    "dpn": "dpn48b",
    "edgenext": "edgenext_xx_small",
    "efficientformer": "efficientformer_l1",
    "efficientformer_v2": "efficientformerv2_s0",
    "efficientnet": "test_efficientnet",
    "efficientvim": "efficientvim_m1",
    "efficientvit_mit": "efficientvit_b0",
    "efficientvit_msra": "efficientvit_m0",
    "eva": "vit_tiny_patch16_dinov3_qkvb",
    "fasternet": "fasternet_t0",
    "fastvit": "fastvit_t8",
    "focalnet": "focalnet_tiny_srf",
    "gcvit": "gcvit_xxtiny",
    "gemma4_vit": "gemma4_vit_167m",
    "ghostnet": "ghostnet_050",
    "hardcorenas": "hardcorenas_b",
    "hgnet": "hgnetv2_b0",
    "hiera": "hiera_tiny_224",
    "hieradet_sam2": "sam2_hiera_tiny",
    "hrnet": "hrnet_w18_small",
    "iformer": "iformer_t",
    "inception_next": "inception_next_atto",
    "inception_resnet_v2": "inception_resnet_v2",
    "inception_v3": "inception_v3",
    "inception_v4": "inception_v4",
    "lcnetv2": "lcnetv2_small",
    "levit": "levit_128s",
    "lowformer": "lowformer_b0",
    "mambaout": "test_mambaout",
    "maxxvit": "test_coatnet",
    "metaformer": "poolformerv2_s12",
    "mlp_mixer": "gmlp_ti16_224",
    "mobilenetv3": "lcnet_035",
    "mobilenetv5": "mobilenetv5_base",
    "mobilevit": "mobilevit_xxs",
    "mvitv2": "mvitv2_tiny",
    "naflexvit": "naflexvit_base_patch16_parfac_gap",
    "nasnet": "nasnetalarge",
    "nest": "nest_tiny",
    "nextvit": "nextvit_small",
    "nfnet": "test_nfnet",
    "pit": "pit_ti_224",
    "pnasnet": "pnasnet5large",
    "pvt_v2": "pvt_v2_b0",
    "qwen3_vit": "qwen3_vit_88m",
    "rdnet": "rdnet_tiny",
    "regnet": "regnetx_002",
    "repghost": "repghostnet_050",
    "repvit": "repvit_m1",
    "res2net": "res2next50",
    "resnest": "resnest14d",
    "resnet": "test_resnet",
    "resnetv2": "resnetv2_18",
    "rexnet": "rexnet_100",
    "selecsls": "selecsls42",
    "senet": "legacy_seresnet18",
    "sequencer": "sequencer2d_s",
    "shvit": "shvit_s1",
    "sknet": "skresnet18",
    "starnet": "starnet_s050",
    "swiftformer": "swiftformer_xs",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "swin_transformer_v2": "swinv2_tiny_window8_256",
    "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "tiny_vit": "tiny_vit_5m_224",
    "tnt": "tnt_s_legacy_patch16_224",
    "tresnet": "tresnet_m",
    "twins": "twins_svt_small",
    "vgg": "vgg11",
    "visformer": "visformer_tiny",
    "vision_transformer": "test_vit",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224",
    "vision_transformer_relpos": "test_vit_relpos",
    "vision_transformer_sam": "samvit_base_patch16_224",
    "vitamin": "vitamin_small_224",
    "volo": "volo_d1_224",
    "vovnet": "ese_vovnet19b_slim_dw",
    "xception": "legacy_xception",
    "xception_aligned": "xception41p",
    "xcit": "xcit_nano_12_p8_224",
}
"""The member of each of timm's families that has the fewest weights."""

TOO_LARGE = {"deepseek_vit": "its smallest member has 412 million weights"}
"""Families that are left out, and why."""

SIZES = (64, 96, 128, 192, 256, 224)
"""Sides of images that are tried, the smaller first; 224 is efficientformer's only one."""


def usable_size(name: str) -> int:
    for size in SIZES:
        try:
            check_sizes(name, size)
        except UsageError:
            continue
        return size
    raise AssertionError(f"{name} takes none of {SIZES}")


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(set(timm.list_modules()) | set(SMALLEST)))
def test_every_family_of_timm_is_staged_and_takes_a_step(family: str) -> None:
    if reason := TOO_LARGE.get(family):
        pytest.skip(reason)
    if family not in SMALLEST or not timm.is_model(SMALLEST[family]):
        pytest.skip("a family of another release of timm")
    size = usable_size(SMALLEST[family])
    backbone = Backbone(SMALLEST[family], image_size=size)
    stages = backbone.stage_parameters()
    assert all(stages.values())
    assert sorted(map(id, chain(*stages.values()))) == sorted(map(id, backbone.parameters()))
    classifier = nn.Linear(backbone.num_features, 3)
    for trained in ((), ("layer4",), BACKBONE_STAGES):
        backbone.set_trainable(trained)
        backbone.zero_grad()
        classifier(backbone(torch.randn(2, 3, size, size))).sum().backward()
        learning = {stage for stage, found in stages.items() if any(p.grad is not None for p in found)}
        assert learning == set(trained)
    torch.optim.SGD(backbone.parameters(), 0.1).step()


@pytest.mark.parametrize("name", ["poolformerv2_s12", "pit_ti_224", "csatv2", "rdnet_tiny", "efficientvit_m0"])
def test_families_that_name_no_groups_or_too_few_are_staged_by_their_parts(name: str) -> None:
    with torch.device("meta"):
        body = timm.create_model(name, num_classes=0)
    stage_of = stage_of_parameters(body)
    names = [parameter for parameter, _ in body.named_parameters()]
    assert sorted(stage_of) == sorted(names)
    order = [BACKBONE_STAGES.index(stage_of[parameter]) for parameter in names]
    assert set(order) == set(range(5))
    assert order == sorted(order) or name == "pit_ti_224"  # whose table of positions stands before all


def test_the_stages_of_a_metaformer_are_its_own() -> None:
    with torch.device("meta"):
        body = timm.create_model("poolformerv2_s12", num_classes=0)
    for parameter, stage in stage_of_parameters(body).items():
        own = {"stem.": "stem", "head.": "layer4"} | {f"stages.{i}.": f"layer{i + 1}" for i in range(4)}
        assert stage == next(own[start] for start in own if parameter.startswith(start))


def test_a_parameter_of_a_part_itself_goes_with_its_first_child() -> None:
    class Part(nn.Sequential):
        def __init__(self, *children: nn.Module) -> None:
            super().__init__(*children)
            self.positions = nn.Parameter(torch.ones(2))

    body = Part(nn.Linear(2, 2), Part(*(nn.Linear(9, 9) for _ in range(4))))
    stage_of = stage_of_parameters(body)
    assert stage_of["positions"] == stage_of["0.weight"] == "stem"
    assert stage_of["1.positions"] == stage_of["1.0.weight"] == "layer1"
    assert [stage_of[f"1.{i}.bias"] for i in range(4)] == list(BACKBONE_STAGES[1:])


def test_a_network_of_too_few_parts_is_refused() -> None:
    with pytest.raises(UsageError, match="`backbone`: Sequential has too few parts"):
        stage_of_parameters(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
