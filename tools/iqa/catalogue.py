"""The metrics, one card each; importing it loads neither torch nor pyiqa."""

from __future__ import annotations

from conservator.restorers.errors import UnknownNameError
from conservator.tools.iqa.card import MetricCard

__all__ = ["METRICS", "card_named"]

_CARDS = (
    MetricCard(
        "psnr",
        "peak signal-to-noise ratio of RGB, dB; 80 means identical",
        "higher",
        low=0,
        high=80,
        needs_reference=True,
        whole=True,
        seconds=0.003,
    ),
    MetricCard(
        "psnry",
        "peak signal-to-noise ratio of luma, dB; 80 means identical",
        "higher",
        low=0,
        high=80,
        needs_reference=True,
        whole=True,
        seconds=0.004,
    ),
    MetricCard(
        "ssim",
        "structural similarity of luma",
        "higher",
        low=0,
        high=1,
        needs_reference=True,
        min_side=11,
        seconds=0.6,
        source="Wang et al. 2004, doi:10.1109/TIP.2003.819861",
    ),
    MetricCard(
        "ms_ssim",
        "multi-scale structural similarity of luma",
        "higher",
        low=0,
        high=1,
        needs_reference=True,
        min_side=161,
        seconds=0.75,
        source="Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216",
    ),
    MetricCard(
        "fsim",
        "feature similarity: phase congruency and gradient, with chroma",
        "higher",
        low=0,
        high=1,
        needs_reference=True,
        min_side=16,
        seconds=0.09,
        source="Zhang et al. 2011, doi:10.1109/TIP.2011.2109730",
    ),
    MetricCard(
        "vsi",
        "visual-saliency-weighted similarity, with chroma",
        "higher",
        low=0,
        high=1,
        needs_reference=True,
        min_side=16,
        seconds=0.08,
        source="Zhang et al. 2014, doi:10.1109/TIP.2014.2346028",
    ),
    MetricCard(
        "gmsd",
        "gradient magnitude similarity deviation of luma",
        "lower",
        low=0,
        high=1,
        needs_reference=True,
        min_side=16,
        seconds=0.008,
        source="arXiv 1308.3052",
    ),
    MetricCard(
        "lpips",
        "learned perceptual distance (AlexNet)",
        "lower",
        low=0,
        high=1,
        needs_reference=True,
        needs_weights=(
            "pyiqa/LPIPS_v0.1_alex-df73285e.pth",
            "checkpoints/alexnet-owt-7be5be79.pth",
        ),
        min_side=64,
        source="arXiv 1801.03924",
    ),
    MetricCard(
        "dists",
        "learned structure and texture distance (VGG-16)",
        "lower",
        low=0,
        high=1,
        needs_reference=True,
        needs_weights=("pyiqa/DISTS_weights-f5e65c96.pth", "checkpoints/vgg16-397923af.pth"),
        min_side=64,
        source="arXiv 2004.07728",
    ),
    MetricCard(
        "piqe",
        "blockwise visible distortion, no reference",
        "lower",
        low=0,
        high=100,
        min_side=32,
        seconds=0.025,
        source="Venkatanath et al. 2015, doi:10.1109/NCC.2015.7084843",
    ),
    MetricCard(
        "niqe",
        "distance from the statistics of clean photos; parameters fitted by this project",
        "lower",
        low=0,
        min_side=192,
        seconds=0.11,
        source="Mittal et al. 2013, doi:10.1109/LSP.2012.2227726",
    ),
    MetricCard(
        "entropy",
        "bits a pixel of the luma histogram; describes tonal spread, and rises with noise too",
        "higher",
        low=0,
        high=8,
        min_side=16,
        seconds=0.25,
    ),
    MetricCard(
        "musiq",
        "multi-scale image quality transformer (KonIQ-10k), 0-100",
        "higher",
        low=0,
        high=100,
        needs_weights=("pyiqa/musiq_koniq_ckpt-e95806b9.pth",),
        min_side=64,
        source="arXiv 2108.05997",
    ),
    MetricCard(
        "maniqa",
        "multi-dimension attention quality (KonIQ-10k)",
        "higher",
        low=0,
        high=1,
        needs_weights=(
            "pyiqa/ckpt_koniq10k.pt",
            "hf:timm/vit_base_patch8_224.augreg2_in21k_ft_in1k",
        ),
        min_side=224,
        source="arXiv 2204.08958",
    ),
    MetricCard(
        "clipiqa",
        "CLIP's preference for 'good photo' over 'bad photo'",
        "higher",
        low=0,
        high=1,
        needs_weights=("clip/RN50.pt",),
        min_side=64,
        source="arXiv 2207.12396",
    ),
    MetricCard(
        "topiq_nr",
        "top-down semantic quality (KonIQ-10k)",
        "higher",
        low=0,
        high=1,
        needs_weights=("pyiqa/cfanet_nr_koniq_res50-9a73138b.pth", "hf:timm/resnet50.a1_in1k"),
        min_side=64,
        source="arXiv 2308.03060",
    ),
    MetricCard(
        "quality",
        "this project's own estimate of overall quality, no reference",
        "higher",
        low=0,
        high=1,
        licence="Apache-2.0",
        commercial_use=True,
        min_side=32,
    ),
)

METRICS: dict[str, MetricCard] = {card.name: card for card in _CARDS}


def card_named(name: str) -> MetricCard:
    """The card of a metric; tolerant of case and hyphens.

    Raises:
        UnknownNameError: no such metric.
    """
    key = name.strip().lower().replace("-", "_")
    try:
        return METRICS[key]
    except KeyError:
        raise UnknownNameError("metric", name, list(METRICS)) from None
