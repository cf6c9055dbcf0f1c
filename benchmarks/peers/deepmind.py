"""DeepMind's block in JAX, as `alphafold-colabfold` on PyPI carries it, compiled."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

from peers import Arrays, Work

MULTIPLICATIONS = ("triangle_multiplication_outgoing", "triangle_multiplication_incoming")


def load(arrays: Arrays) -> Work:
    """With its configuration for inference in float32: attention and transitions by four rows.

    Left and right projections are two, as in DeepMind's monomer networks and their files.
    """
    jax, haiku, numpy = (import_module(name) for name in ("jax", "haiku", "numpy"))
    config, modules, prng = (
        import_module(f"alphafold.model.{name}") for name in ("config", "modules", "prng")
    )
    network = config.model_config("model_1").model
    words, how = network.embeddings_and_evoformer.evoformer, network.global_config
    how.update({"deterministic": True, "bfloat16": False, "subbatch_size": 4})
    for name in MULTIPLICATIONS:
        words[name].fuse_projection_weights = False
    ones = {"msa": arrays["in/msa"].shape[:2], "pair": arrays["in/pair"].shape[:2]}
    masks = {name: numpy.ones(shape, numpy.float32) for name, shape in ones.items()}

    def block(streams: Any, masks: Any) -> Any:
        key = prng.SafeKey(jax.random.PRNGKey(0))
        network = modules.EvoformerIteration(words, how, is_extra_msa=False)
        return network(streams, masks, is_training=False, safe_key=key)

    parameters: dict[str, dict[str, Any]] = {}
    for name, value in arrays.items():
        if "//" in name:
            module, leaf = f"evoformer_iteration{name}".split("//")
            parameters.setdefault(module, {})[leaf] = jax.numpy.asarray(value)

    def copy() -> dict[str, Any]:
        return {name: jax.numpy.array(arrays[f"in/{name}"]) for name in ("msa", "pair")}

    def forward(parameters: Any, streams: Any, masks: Any) -> Any:
        return haiku.transform(block).apply(parameters, None, streams, masks)

    streams = copy()
    compiled = jax.jit(forward, donate_argnums=1).lower(parameters, streams, masks).compile()
    return Work(
        copy=copy,
        run=lambda given: jax.block_until_ready(compiled(parameters, given, masks)),
        results=lambda out: (numpy.asarray(out["msa"]), numpy.asarray(out["pair"])),
        version=", ".join(
            f"{name} {version(name)}" for name in ("alphafold-colabfold", "jax", "dm-haiku")
        ),
    )
