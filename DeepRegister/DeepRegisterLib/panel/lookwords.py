"""What is seen in each way of comparing, in a sentence or two."""

from __future__ import annotations

from .i18n import _


def explanation(mode: str | None, whole: bool) -> str:
    """The sentences for a mode of `Looking`; None: nothing is compared.

    Args:
        whole: whether a displacement counts the shift and turn of the whole.
    """
    if mode == "displacement" and whole:
        return _("How far each place was moved.")
    return {
        None: _("Compare the fixed and the moving volume in the slice views."),
        "fade": _("The moving volume lies over the fixed one."),
        "flicker": _("The two volumes in turn. What jumps is not aligned."),
        "checkerboard": _("Tiles of the two volumes in turn. Edges should run on from tile to tile."),
        "reveal": _("Move the mouse over a slice view: the circle under it shows the moving volume."),
        "sideBySide": _("Left the fixed volume, right the moving one. Move or zoom one, and both follow."),
        "difference": _(
            "Red: the moving volume is brighter. Blue: it is darker. No colour: the same grey. The grey values are "
            "compared as the volumes are displayed."
        ),
        "displacement": _("How far each place was moved by the change of shape, without the shift and turn of all."),
        "volumeChange": _(
            "Violet: larger in the moving volume than in the fixed one. Orange: smaller. Pink: folded, which tissue "
            "cannot do. No colour: the same."
        ),
        "expectedError": _(
            "How far each place may be from where it belongs, estimated from how well, and how unmistakably, the "
            "volumes fit there. Meant for one anatomy seen twice: between two people errors are larger than it says."
        ),
    }[mode]
