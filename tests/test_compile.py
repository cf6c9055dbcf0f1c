"""What `torch.compile` must trace in one piece; runs without the shape checks (see pyproject)."""

import pytest
import torch

from alphafold2_pytorch.geometry.rigid import Rigid

pytestmark = pytest.mark.compile


def test_rigid_motions_are_traced_in_one_piece():
    def move(rot, trans, points):
        frames = Rigid(rot, trans)
        return frames.compose(frames.inverse())[0].apply_inverse(points)

    rot, trans = torch.linalg.qr(torch.randn(2, 3, 3)).Q, torch.randn(2, 3)
    points = torch.randn(5, 3)
    compiled = torch.compile(move, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(rot, trans, points), move(rot, trans, points))
