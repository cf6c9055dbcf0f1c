"""Relaxation by OpenMM in the Amber99sb force field, as AlphaFold does it."""

import time
from io import StringIO
from typing import Any

import numpy as np

from alphafold2_pytorch.chem.residues import ATOM14_NAMES
from alphafold2_pytorch.pdb import Atom
from alphafold2_pytorch.relax.platforms import choose_platform, load, properties_of, repeatable
from alphafold2_pytorch.relax.protein import Protein, texts, to_slots
from alphafold2_pytorch.relax.result import (
    RelaxationError,
    Relaxed,
    RelaxSettings,
    broken_residues,
)
from alphafold2_pytorch.typing import Bool, Float

FORCE_FIELD = "amber99sb.xml"
PH = 7.0
KILOJOULE = 4.184  # of a kilocalorie
NANOMETER = 10.0  # in angstrom
NOISE = 1e-3  # what single precision and constraints may add to an energy, as a share of it
RESTRAINT = "0.5 * k * ((x - x0)^2 + (y - y0)^2 + (z - z0)^2)"


def check(device: str, settings: RelaxSettings) -> None:
    """`ImportError` without OpenMM, `ValueError` for a device that is not there."""
    load("pdbfixer")
    choose_platform(device)


def run(protein: Protein, device: str, settings: RelaxSettings) -> Relaxed:
    """Minimise in rounds; each starts where the last ended, and lets go what was still broken.

    Hydrogens and missing heavy atoms are added; these, and all that violated chemistry after an
    earlier round, are not restrained.
    """
    openmm = load("openmm")
    started = time.perf_counter()
    platform = choose_platform(device)
    before, _ = broken_residues(protein, protein.positions, protein.mask)
    try:
        minimiser = Minimiser(protein, platform, settings)
        energy_before = minimiser.energy()
        free = np.zeros(len(protein.seq), bool)
        for rounds in range(1, settings.max_rounds + 1):  # noqa: B007 (told below)
            minimiser.minimise(free)
            atoms = minimiser.atoms()
            positions, mask = to_slots(protein, atoms)
            after, broken = broken_residues(protein, positions, mask)
            if not broken.any():
                break
            free |= broken
        energy_after = minimiser.energy()
    except openmm.OpenMMException as error:
        raise RelaxationError(f"OpenMM could not relax it: {error}") from None
    except ArithmeticError:  # pdbfixer divides by distances
        raise RelaxationError("atoms of a residue lie upon each other") from None
    if energy_after > energy_before + NOISE * max(1.0, abs(energy_before)):
        raise RelaxationError(
            f"the energy rose from {energy_before:.6g} to {energy_after:.6g} kcal/mol"
        )
    moved = np.square(positions - protein.positions).sum(-1)[protein.mask]
    pdb, cif = texts(protein.with_atoms(atoms))
    return Relaxed(
        pdb=pdb,
        cif=cif,
        engine="openmm",
        platform=platform.getName(),
        energy_before=energy_before,
        energy_after=energy_after,
        rmsd=float(np.sqrt(moved.mean(dtype=float))),
        violations_before=before,
        violations_after=after,
        rounds=rounds,
        seconds=time.perf_counter() - started,
    )


class Minimiser:
    """A protein's atoms under the force field, each tied to where it is when a round starts."""

    def __init__(self, protein: Protein, platform: Any, settings: RelaxSettings):
        openmm, app = load("openmm"), load("openmm.app")
        self.settings = settings
        self.topology, places, self.residue = complete(protein)
        try:
            system = app.ForceField(FORCE_FIELD).createSystem(
                self.topology, constraints=app.HBonds, nonbondedMethod=app.NoCutoff
            )
        except ValueError as error:  # no parameters
            raise RelaxationError(f"{FORCE_FIELD} does not fit it: {error}") from None
        self.restraint = openmm.CustomExternalForce(RESTRAINT)
        self.restraint.setForceGroup(1)
        for name in ("k", "x0", "y0", "z0"):
            self.restraint.addPerParticleParameter(name)
        self.held = [atom.index for atom in self.topology.atoms() if self.known(protein, atom)]
        for index in self.held:
            self.restraint.addParticle(index, [0.0, 0.0, 0.0, 0.0])
        system.addForce(self.restraint)
        integrator = openmm.VerletIntegrator(0.001)  # never taken a step with
        properties = properties_of(platform, settings.threads)
        self.context = openmm.Context(system, integrator, platform, properties)
        self.context.setPositions(places / NANOMETER)

    def known(self, protein: Protein, atom: Any) -> bool:
        """Whether the input told where a heavy atom is."""
        at = self.residue[atom.index]
        names = ATOM14_NAMES[protein.seq[at]]
        return atom.name in names and bool(protein.mask[at, names.index(atom.name)])

    def minimise(self, free: Bool[np.ndarray, " n"]) -> None:
        """One round; the residues that are `free` are not restrained."""
        openmm = load("openmm")
        stiffness = self.settings.stiffness * KILOJOULE * NANOMETER**2
        places = self.places() / NANOMETER
        for at, index in enumerate(self.held):
            k = 0.0 if free[self.residue[index]] else stiffness
            self.restraint.setParticleParameters(at, index, [k, *places[index].tolist()])
        self.restraint.updateParametersInContext(self.context)
        openmm.LocalEnergyMinimizer.minimize(
            self.context, self.settings.tolerance * KILOJOULE, self.settings.max_iterations
        )

    def energy(self) -> float:
        """Of the force field, in kcal/mol, without restraints; `RelaxationError` if it is none."""
        state = self.context.getState(energy=True, groups={0})
        energy = state.getPotentialEnergy()._value / KILOJOULE
        if not np.isfinite(energy):
            raise RelaxationError(f"the energy is {energy}: atoms lie upon each other")
        return energy

    def places(self) -> Float[np.ndarray, "atoms 3"]:
        """Of all atoms, in angstrom."""
        state = self.context.getState(positions=True)
        places = state.getPositions(asNumpy=True)._value * NANOMETER
        if not np.isfinite(places).all():
            raise RelaxationError("the minimisation lost atoms: positions are no numbers any more")
        return places

    def atoms(self) -> list[list[Atom]]:
        """Of each residue, where they are now."""
        places = self.places()
        return [
            [Atom(a.name, a.element.symbol, places[a.index]) for a in residue.atoms()]
            for residue in self.topology.residues()
        ]


def complete(protein: Protein) -> tuple[Any, Float[np.ndarray, "atoms 3"], list[int]]:
    """OpenMM's topology with all atoms, their places in angstrom, and each one's residue.

    Cysteines whose sulphurs are closer than 3 angstrom are bonded, histidines protonated where
    that makes the better hydrogen bonds. Done on one thread, for the same result each time.
    """
    app, angstrom = load("openmm.app"), load("openmm.unit").angstrom
    cpu = load("openmm").Platform.getPlatformByName("CPU")
    with repeatable(cpu):
        fixer = load("pdbfixer").PDBFixer(pdbfile=StringIO(protein.heavy_pdb()), platform=cpu)
        fixer.missingResidues = {}
        fixer.findMissingAtoms()
        fixer.addMissingAtoms(seed=1)  # 0 would be another each time
        modeller = app.Modeller(fixer.topology, fixer.positions)
        modeller.addHydrogens(pH=PH, platform=cpu)
    places = np.array(modeller.positions.value_in_unit(angstrom), float)
    residue = [atom.residue.index for atom in modeller.topology.atoms()]
    if (found := modeller.topology.getNumResidues()) != len(protein.seq):
        raise RelaxationError(f"OpenMM reads {found} residues where {len(protein.seq)} were given")
    return modeller.topology, places, residue
