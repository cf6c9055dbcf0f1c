"""One model's structure as ModelCIF: atoms, confidence, and what made them."""

from pathlib import Path
from typing import Any

from alphafold2_pytorch.cli.models import Weights
from alphafold2_pytorch.cli.results import Result, versions

# A longer chain's aligned errors are in scores.json alone: as ModelCIF those of 600 residues take
# 13 MB and seven seconds.
MOST_PAE_RESIDUES = 500


def write_modelcif(path: Path, result: Result, weights: Weights, letters: str) -> None:
    """A file of ModelCIF: atoms of `result.cif`, pLDDT a residue and over all, pTM and PAE if any.

    PAE is the error of the second residue in the frame of the first, in angstrom, and left out for
    more than `MOST_PAE_RESIDUES`. Raises `ImportError` naming the extra without `modelcif`.
    """
    try:
        import modelcif
        import modelcif.dumper
        import modelcif.model
        import modelcif.protocol
    except ImportError:
        raise ImportError(
            "ModelCIF needs modelcif: pip install 'alphafold2-pytorch[report]'"
        ) from None
    alphabet = {"X": "UNK"}  # the name that this dictionary has for it
    entity = modelcif.Entity([alphabet.get(letter, letter) for letter in letters], description="")
    entity.description = result.name
    chain = modelcif.AsymUnit(entity, details=result.name, id="A")
    made_by = software(weights)
    model = modelcif.model.AbInitioModel(modelcif.Assembly([chain]), name=weights.model)
    for number, name, element, position in atoms_of(result.cif):
        x, y, z = position
        factor = round(float(result.plddt[number - 1]), 2)
        model.add_atom(
            modelcif.model.Atom(chain, number, name, element, x, y, z, biso=factor, occupancy=1.0)
        )
    model.qa_metrics.extend(metrics(result, chain, made_by))
    left_out = "pae" in result.maps and len(letters) > MOST_PAE_RESIDUES
    system = modelcif.System(
        title=f"{result.name} predicted by {weights.model}",
        model_details=f"Weights {weights.name}, sha256 {weights.sha256}."
        + (" Aligned errors of a chain of this length are in scores.json." if left_out else ""),
    )
    system.model_groups.append(modelcif.model.ModelGroup([model], name="All"))
    protocol = modelcif.protocol.Protocol()
    protocol.steps.append(
        modelcif.protocol.ModelingStep(entity, model, name="prediction", software=made_by)
    )
    system.protocols.append(protocol)
    with path.open("w", encoding="utf-8") as file:
        modelcif.dumper.write(file, [system])


def software(weights: Weights) -> Any:
    """This package, and the weights as its parameters."""
    import modelcif

    program = modelcif.Software(
        "alphafold2-pytorch",
        "model building",
        "Prediction of protein structures (Jumper et al. 2021) in PyTorch",
        None,
        "package",
        versions()["alphafold2-pytorch"],
    )
    parameters = [
        modelcif.SoftwareParameter("weights", weights.name),
        modelcif.SoftwareParameter("weights_sha256", weights.sha256),
    ]
    return modelcif.SoftwareGroup([modelcif.SoftwareWithParameters(program, parameters)])


def metrics(result: Result, chain: Any, made_by: Any) -> list[Any]:
    """Scores of the model, of its residues and of their pairs."""
    import modelcif.qa_metric as qa

    def kind(name: str, about: str, *bases: type) -> type:
        return type(name, bases, {"__doc__": about, "software": made_by})

    local = kind("pLDDT", "Predicted lDDT-CA of a residue, 0 to 100", qa.Local, qa.PLDDT)
    mean = kind("mean pLDDT", "Mean predicted lDDT-CA, 0 to 100", qa.Global, qa.PLDDT)
    residues = [chain.residue(number) for number in range(1, len(result.plddt) + 1)]
    found = [mean(round(result.mean_plddt, 2))]
    found += [
        local(residue, round(float(value), 2))
        for residue, value in zip(residues, result.plddt, strict=True)
    ]
    if result.ptm is not None:
        total = kind("pTM", "Predicted TM-score, 0 to 1", qa.Global, qa.PTM)
        found.append(total(round(result.ptm, 4)))
    if "pae" in result.maps and len(residues) <= MOST_PAE_RESIDUES:
        pair = kind("PAE", "Predicted aligned error in angstrom", qa.LocalPairwise, qa.PAE)
        found += [
            pair(frame, residue, round(value, 1))
            for frame, row in zip(residues, result.maps["pae"], strict=True)
            for residue, value in zip(residues, row.tolist(), strict=True)
        ]
    return found


def atoms_of(cif: str) -> list[tuple[int, str, str, list[float]]]:
    """The atoms in mmCIF text of one chain: residue (from 1), name, element and angstrom."""
    import gemmi

    block = gemmi.cif.read_string(cif).sole_block()
    [model] = gemmi.make_structure_from_block(block)
    return [
        (int(residue.label_seq or 0), atom.name, atom.element.name, atom.pos.tolist())
        for chain in model
        for residue in chain
        for atom in residue
    ]
