"""A protein language model in front of the network, here a tiny one with random weights.

For the published ESM-2 leave out `language_model`: it is downloaded on the first call. Needs
`pip install 'alphafold2-pytorch[embeds]'`; without it, embeddings from elsewhere are used.
"""

import torch

from alphafold2_pytorch import Alphafold2
from alphafold2_pytorch.embeds import ESMEmbedWrapper

torch.manual_seed(0)
seq = torch.randint(0, 20, (2, 32))
msa = torch.randint(0, 22, (2, 5, 32))  # 21 is a gap
msa[:, 0] = seq
mask = torch.ones_like(seq, dtype=torch.bool)
mask[1, 20:] = False  # the second chain is shorter

model = Alphafold2(dim=32, depth=1, heads=2, dim_head=16, num_embedds=64)

# embeddings from anywhere: one vector a residue, and one for each entry of the alignment
embeds, msa_embeds = torch.randn(2, 32, 64), torch.randn(2, 5, 32, 64)
out = model(seq, msa, mask=mask, embeds=embeds, msa_embeds=msa_embeds)
print(f"embeddings from elsewhere: distogram {tuple(out.shape)}")

# ... or from a language model that the wrapper runs, frozen, and projects to num_embedds
try:
    from transformers import EsmConfig, EsmModel
except ModuleNotFoundError:
    print("the wrappers need the extra: pip install 'alphafold2-pytorch[embeds]'")
else:
    config = EsmConfig(
        vocab_size=33,
        pad_token_id=1,
        mask_token_id=32,
        hidden_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=80,
        position_embedding_type="rotary",
    )
    language_model = EsmModel(config, add_pooling_layer=False)
    wrapper = ESMEmbedWrapper(alphafold2=model, language_model=language_model)
    print(f"embedded by ESM: distogram {tuple(wrapper(seq, msa, mask=mask).shape)}")
    learned = sum(p.numel() for p in wrapper.parameters() if p.requires_grad)
    print(f"{learned} parameters learn, those of the language model do not")
