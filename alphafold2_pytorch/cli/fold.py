"""`alphafold2 fold`: sequences and alignments to structures on disk."""

from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from alphafold2_pytorch.cli.batch import Batch
from alphafold2_pytorch.cli.cluster import Cluster
from alphafold2_pytorch.cli.device import choose_device
from alphafold2_pytorch.cli.models import RANK_BY, Models, Settings, show_presets
from alphafold2_pytorch.cli.options import Device, MaxRows, Out, Recycles, Seed
from alphafold2_pytorch.cli.preparation import Sought
from alphafold2_pytorch.cli.results import prepare_folder
from alphafold2_pytorch.cli.settings import Truth

MODEL, SEARCH, TRUTH = "Model", "Search", "Comparison"  # panels of the help


def run(
    queries: Annotated[
        list[Path],
        typer.Argument(
            metavar="QUERY",
            help="FASTA or CSV (each record is folded alone), a3m or Stockholm (the first row is "
            "folded), plain or gzipped, or a folder of alignments. Results are named after "
            "records, and after files of alignments.",
        ),
    ],
    out: Out,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace results that exist; default: skip them.")
    ] = False,
    device: Device = "auto",
    recycles: Recycles = 3,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="ANGSTROM",
            help="Stop as soon as a cycle moves CA distances by no more (root mean square).",
        ),
    ] = None,
    seed: Seed = 0,
    max_rows: MaxRows = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE[:CHAIN]",
            help="PDB or mmCIF file of a relative; may be repeated, best first.",
        ),
    ] = None,
    db: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Search single sequences in this FASTA of proteins first, as alphafold2 search; "
            "may be repeated.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What searches --db: jackhmmer, jackhmmer-binary, hhblits, mmseqs.",
            rich_help_panel=SEARCH,
        ),
    ] = "jackhmmer",
    template_db: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DB",
            help="Search templates in this, as alphafold2 templates; needs --structures.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    template_engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What searches --template-db: hhsearch, hmmsearch, hmmsearch-binary.",
            rich_help_panel=SEARCH,
        ),
    ] = "hhsearch",
    structures: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="mmCIF files of templates' entries.", rich_help_panel=SEARCH
        ),
    ] = None,
    max_date: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="Refuse templates released later.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="templates.npz that alphafold2 templates wrote for this query.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Have torch.compile make the trunk's blocks, once for all chains of about one "
            "length (they are padded): minutes, which pay for themselves in large batches.",
        ),
    ] = False,
    relax: Annotated[
        str,
        typer.Option(
            metavar="none|best|all",
            help="Mend clashes and bonds of the best model or all, as alphafold2 relax; also of "
            "what was folded without it.",
        ),
    ] = "none",
    report: Annotated[
        bool,
        typer.Option(
            "--report/--no-report",
            help="A page to look at for each query; default: if the extra report is there.",
        ),
    ] = True,
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="DeepMind's params_model_*.npz, or weights from alphafold2 train; default: those "
            "of the package. Repeated: all fold, and their results are ranked.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    rank_by: Annotated[
        str | None,
        typer.Option(
            metavar="plddt|ptm",
            help="What is best of several --weights; default: plddt, the mean.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    ensemble: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Draws of the alignment that each cycle averages (DeepMind's models).",
            rich_help_panel=MODEL,
        ),
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Fold on a Ray cluster: HOST:PORT, auto for the one that runs here; alone, as "
            "many workers as this machine has room for. All see the same files.",
        ),
    ] = None,
    save_features: Annotated[
        bool,
        typer.Option("--save-features", help="Also write what the best model read: features.npz."),
    ] = False,
    preset: Annotated[
        bool,
        typer.Option(
            "--preset",
            callback=show_presets,
            is_eager=True,
            help="List DeepMind's models that can be read, and stop.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PDB or mmCIF file to compare with: adds scores and a picture.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
    chain: Annotated[
        str | None,
        typer.Option(
            metavar="X",
            help="The chain of --truth; default: its first protein.",
            rich_help_panel=TRUTH,
        ),
    ] = None,
) -> None:
    """Fold proteins: NAME.pdb, NAME.cif (pLDDT as B-factor) and NAME.json for each query.

    These are of the best model; NAME/ has the structures of all, ranked_0.pdb the best, scores.json
    and settings.json for alphafold2 repeat.

    The shortest query is first. Those that are done are skipped; those that fail, or have results
    of other settings, are reported and the others folded; the exit code is then 1.
    """
    cluster = None if ray is None else Cluster(ray, device)
    device = choose_device("cpu" if cluster else device)  # workers choose theirs
    if rank_by is not None and rank_by not in RANK_BY:
        raise ValueError(f"unknown --rank-by {rank_by!r}; choose from {', '.join(RANK_BY)}")
    sought = Sought(
        databases=tuple(db or ()),
        engine=engine,
        template_databases=tuple(template_db or ()),
        template_engine=template_engine,
        structures=structures,
        max_date=max_date.date() if max_date else None,
        template_file=templates,
    )
    settings = Settings(
        recycles=recycles,
        seed=seed,
        max_rows=max_rows,
        ensemble=ensemble,
        tolerance=tolerance,
        templates=tuple(find_template(text) for text in template or ()),
        rank_by=rank_by,
    )
    models = Models(weights or [], device, settings, compiled=compiled)
    batch = Batch(
        out,
        models,
        overwrite,
        read_truth(truth, chain),
        save_features,
        relax,
        report and has_reports(),
        sought,
    )
    prepare_folder(out)
    batch.run(batch.read(queries), cluster)


def has_reports() -> bool:
    """Whether what pages need is installed."""
    return all(find_spec(name) is not None for name in ("jinja2", "matplotlib"))


def read_truth(path: Path | None, chain: str | None) -> Truth | None:
    """The structure to compare with."""
    if path is not None:
        return Truth.read(path, chain)
    if chain is not None:
        raise ValueError(f"--chain {chain} is a chain of --truth FILE, which is missing")
    return None


def find_template(text: str) -> tuple[Path, str | None]:
    """The file and the chain of `FILE[:CHAIN]`, once it is known that they are there."""
    from alphafold2_pytorch.data.parse.structure import read_structure

    file, colon, chain = text.rpartition(":")
    found = (Path(file), chain) if colon and not Path(text).exists() else (Path(text), None)
    read_structure(*found)
    return found
