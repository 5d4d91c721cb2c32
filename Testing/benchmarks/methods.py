"""The table of methods: ours and the peers, each a script that runs in an environment of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

PEERS = Path(__file__).resolve().parent / "peers"
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Method:
    """A way to register.

    Attributes:
        title: in the table.
        script: the program that does it.
        environment: the environment of a peer, as `peers/install.py` names it; "" for ours, which runs in this one.
        start: "own" where it finds its own affine, "ours" where it is given ours.
        options: what its script is told beside the files, JSON-ready.
        suits: it runs on data sets whose names contain this word; "" for all.
    """

    title: str
    script: Path
    environment: str = ""
    start: str = "own"
    options: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    suits: str = ""


def _ours(title: str, suits: str = "", **settings: Any) -> Method:
    return Method(f"DeepRegister {title}", PEERS / "ours.py", options={"settings": settings}, suits=suits)


def _peer(title: str, script: str, environment: str, start: str = "own", **options: Any) -> Method:
    return Method(f"{title}, {'our' if start == 'ours' else 'own'} affine", PEERS / script, environment, start, options)


METHODS = {
    "affine": _ours("affine", model="affine"),
    "fast": _ours("deformable, fast", model="deformable", quality="fast"),
    "balanced": _ours("deformable, balanced", model="deformable"),
    "accurate": _ours("deformable, accurate", model="deformable", quality="accurate"),
    "voxelmorph": _ours("voxelmorph-hippocampus", "hippocampus", model="voxelmorph-hippocampus", refine=False),
    "voxelmorph-refined": _ours(
        "voxelmorph-hippocampus, refined", "hippocampus", model="voxelmorph-hippocampus", refine=True
    ),
    "voxelmorph-labels": _ours(
        "voxelmorph-hippocampus-labels", "hippocampus", model="voxelmorph-hippocampus-labels", refine=False
    ),
    "pyramid-hippocampus": _ours("pyramid-hippocampus", "hippocampus", model="pyramid-hippocampus", refine=False),
    "pyramid-network": _ours("pyramid, network alone", "brain", model="pyramid", refine=False),
    "pyramid-fast": _ours("pyramid, refined, fast", "brain", model="pyramid", quality="fast"),
    "pyramid": _ours("pyramid, refined, balanced", "brain", model="pyramid"),
    "pyramid-accurate": _ours("pyramid, refined, accurate", "brain", model="pyramid", quality="accurate"),
    "auto": _ours("auto", model="auto"),
    "greedy": _peer("greedy", "greedy_ncc.py", "classic"),
    "greedy-ours": _peer("greedy", "greedy_ncc.py", "classic", "ours"),
    "ants": _peer("ANTs SyN quick", "ants_syn.py", "classic", kind="antsRegistrationSyNQuick[s]"),
    "ants-ours": _peer("ANTs SyN quick", "ants_syn.py", "classic", "ours", kind="antsRegistrationSyNQuick[so]"),
    "ants-cc": _peer("ANTs SyN CC", "ants_syn.py", "classic", kind="antsRegistrationSyN[s]"),
    "ants-cc-ours": _peer("ANTs SyN CC", "ants_syn.py", "classic", "ours", kind="antsRegistrationSyN[so]"),
    "demons": _peer("SimpleITK demons", "demons.py", "classic", "ours"),
    "convexadam": _peer("ConvexAdam", "convexadam_mind.py", "classic", "ours"),
    "elastix": _peer("elastix B-spline", "elastix_bspline.py", "elastix"),
    "elastix-ours": _peer("elastix B-spline", "elastix_bspline.py", "elastix", "ours"),
    "fireants": _peer("FireANTs greedy", "fireants_greedy.py", "fireants"),
    "fireants-ours": _peer("FireANTs greedy", "fireants_greedy.py", "fireants", "ours"),
    "unigradicon": _peer("uniGradICON", "unigradicon_network.py", "unigradicon", iterations=None),
    "unigradicon-ours": _peer("uniGradICON", "unigradicon_network.py", "unigradicon", "ours", iterations=None),
    "unigradicon-refined-ours": _peer(
        "uniGradICON, 50 iterations", "unigradicon_network.py", "unigradicon", "ours", iterations=50
    ),
}
