"""Known structures as templates: what they are, and that only their shape counts.

Random weights, so the distogram means nothing yet; the shapes and the invariance do.
"""

import torch

from alphafold2_pytorch import Alphafold2

torch.manual_seed(0)
model = Alphafold2(dim=32, depth=1, heads=2, dim_head=16, template_attn_depth=2).eval()
with torch.no_grad():  # updates start as nothing: pretend that the model was trained
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))

length, templates = 48, 2
seq = torch.randint(0, 20, (1, length))
msa = torch.randint(0, 20, (1, 5, length))

steps = torch.nn.functional.normalize(torch.randn(1, templates, length, 3), dim=-1)
coords = 3.8 * steps.cumsum(2)  # CA atoms in angstrom, 3.8 from one to the next
sidechains = torch.nn.functional.normalize(torch.randn(1, templates, length, 3), dim=-1)  # CA to C
known = torch.ones(1, templates, length, dtype=torch.bool)
known[:, 1, 20:] = False  # the second template ends here


def distogram(coords: torch.Tensor, sidechains: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(
            seq,
            msa,
            templates_seq=seq[:, None].expand(-1, templates, -1),
            templates_coors=coords,
            templates_mask=known,
            templates_sidechains=sidechains,
        )


found = distogram(coords, sidechains)
with torch.no_grad():
    without = model(seq, msa)
turn = torch.linalg.qr(torch.randn(3, 3)).Q
turn[:, 0] *= torch.linalg.det(turn)  # a rotation, no mirror
moved = distogram(coords @ turn.T + 100.0, sidechains @ turn.T)

print(f"distogram {tuple(found.shape)}")
print(f"templates change the logits by up to {(found - without).abs().max():.3f}")
print(f"a moved template changes them by up to {(found - moved).abs().max():.6f}")
