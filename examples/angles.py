"""Learn one chain's distances and the angles between its residues by heart, on a CPU in seconds.

Run from anywhere: `python examples/angles.py`.
"""

from pathlib import Path

import torch

from alphafold2_pytorch import Alphafold2, Features
from alphafold2_pytorch.data.featurize import featurize
from alphafold2_pytorch.data.parse.structure import read_structure
from alphafold2_pytorch.features import Targets
from alphafold2_pytorch.heads import total_loss

DATA = Path(__file__).parent / "data"
LENGTH, STEPS = 32, 40

chain = read_structure(DATA / "1a3a_C.pdb")
features = Features.stack([featurize(chain.sequence, DATA / "1a3a_C.a3m", max_rows=8, seed=0)])
features = features.crop("n", 0, LENGTH).crop("m", 0, LENGTH)
truth = Targets(
    seq=features.seq,
    residue_index=features.residue_index,
    positions=torch.from_numpy(chain.positions[None, :LENGTH]).float(),
    atom_mask=torch.from_numpy(chain.atom_mask[None, :LENGTH]),
)

torch.manual_seed(0)
model = Alphafold2(
    dim=16, depth=1, heads=2, dim_head=8, predict_angles=True, predict_real_value_distances=True
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(STEPS):
    loss, parts = total_loss(model.heads, model.predict(features), truth)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 13 == 0:
        print(f"step {step}: " + ", ".join(f"{name} {part:.2f}" for name, part in parts.items()))

distance, theta, phi, omega = model.eval()(features.seq, features.msa)
mean, deviation = distance[0, 4, 7].tolist()
print(f"residues 5 and 8: {mean:.1f} +- {deviation:.1f} angstrom apart")
for name, logits, lowest in (("theta", theta, -180), ("phi", phi, 0), ("omega", omega, -180)):
    bins = logits[0, 4, 7].argmax()  # 0: farther apart than 20 angstrom; then 15 degrees each
    start = lowest + 15 * (bins - 1)
    print(f"{name}: " + ("no contact" if bins == 0 else f"{start} to {start + 15} degrees"))
