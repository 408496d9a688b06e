"""Owns `pesemiseg models`: list, info, import, export, amend and remove model packages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from PESemiSegLib.cli.options import InputPath, SeriesOption, print_json, require_free_file

if TYPE_CHECKING:
    from PESemiSegLib.models.store import StoreEntry

app = typer.Typer(no_args_is_help=True, help="List, inspect, import, export, amend and remove models.")

NameArgument = Annotated[str, typer.Argument(help="Name as shown by `pesemiseg models list`.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what has the same name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models that are here, the demo model first."""
    from PESemiSegLib.models.store import Store

    store = Store()
    entries = store.list()
    if as_json:
        print_json({"models": [_brief(entry) for entry in entries]})
    elif not entries:
        print(f"no models yet in {store.root}; add one with: pesemiseg models import PACKAGE")
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("Name", "Network", "Trained on", "Licence", "State", box=None, pad_edge=False)
        for entry in entries:
            table.add_row(*_row(entry))
        Console().print(table)


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A name, a package folder or a .zip.")],
    as_json: JsonOption = False,
) -> None:
    """Show a model's card, after verifying the package."""
    from PESemiSegLib.models.store import Store

    package = Store().find(model)
    if as_json:
        print_json({"sha256": package.sha256, "path": str(package.path), **package.info.to_dict()})
    else:
        print(package.read_bytes("README.md").decode("utf-8", "replace"))
        print(f"Verified. SHA-256 of the package: {package.sha256}\nPath: {package.path}")


@app.command("import")
def import_model(
    source: Annotated[str, typer.Argument(help="A package folder, a .zip, or an https address of a .zip.")],
    sha256: Annotated[
        str | None, typer.Option(help="Expected SHA-256 of the .zip; required for an address.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Copy a model into the store, after verifying it."""
    from PESemiSegLib.models.store import Store

    package = Store().import_(source, sha256=sha256, overwrite=overwrite)
    print(f"imported {package.info.name} to {package.path}")


@app.command("export")
def export_model(
    name: NameArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .zip to write.")],
    overwrite: OverwriteOption = False,
) -> None:
    """Write a model as a .zip that another computer can import."""
    from PESemiSegLib.atomic import sha256_of
    from PESemiSegLib.models.store import Store

    archive = Store().export(name, output, overwrite=overwrite)
    print(f"exported {name} to {archive}\nSHA-256 of the file: {sha256_of(archive)}")


@app.command("amend")
def amend_model(
    model: Annotated[str, typer.Argument(help="A name, a package folder or a .zip; it stays as it is.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="NEW", help="Folder of the new package.")],
    threshold: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Probability from which a pixel is marked.")
    ] = None,
    core_threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=1.0, help="Probability of a mark's core; as the threshold: none of its own."
        ),
    ] = None,
    min_lesion_mm3: Annotated[
        float | None, typer.Option(min=0.0, metavar="MM3", help="Marks with a smaller core are dropped.")
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON with name, training, metrics, licence or intended_use, to replace them.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a model with another operating point: the same networks, a new card, checked as a whole."""
    from PESemiSegLib.models.amend import move_operating_point, read_words
    from PESemiSegLib.models.store import Store

    package = move_operating_point(
        Store().find(model),
        output,
        threshold=threshold,
        core_threshold=core_threshold,
        min_lesion_mm3=min_lesion_mm3,
        words=None if words is None else read_words(words),
        overwrite=overwrite,
    )
    print(f"wrote {package.info.name} to {output}\nSHA-256 of the package: {package.sha256}")


@app.command("remove")
def remove_model(name: NameArgument) -> None:
    """Delete a model from the store."""
    from PESemiSegLib.models.store import Store

    Store().remove(name)
    print(f"removed {name}")


@app.command()
def styles(
    model: Annotated[str, typer.Argument(help="A StitchNet model: a name, a package folder or a .zip.")],
    input: InputPath,
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")],
    number: Annotated[
        int | None, typer.Option("--slice", min=1, help="The slice, from 1. Default: the one with most lung.")
    ] = None,
    series: SeriesOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Draw a slice as a StitchNet model sees it: a style for each tissue, and the lungs filled with each."""
    from PESemiSegLib.evaluation.style_sheet import draw_styles
    from PESemiSegLib.inference.styles import find_styles
    from PESemiSegLib.models.store import Store
    from PESemiSegLib.volumes.reader import read

    require_free_file(output, overwrite=overwrite)
    package = Store().find(model)
    found = find_styles(read(input, series=series), package, None if number is None else number - 1)
    draw_styles(found, package.info.what.segments, output)
    print(f"slice {found.index + 1} drawn to {output} (research use only)")


def _row(entry: StoreEntry) -> tuple[str, str, str, str, str]:
    if entry.package is None:
        return entry.name, "", "", "", entry.problem or "damaged"
    facts = entry.package.info
    network = facts.network_config
    trained_on = "made-up patients only" if facts.is_demo else facts.data_origin
    size = f"W{network.width} {network.depth}" if network.architecture == "hrnet" else str(network)
    marks = "" if facts.what.classes == 2 else f"{facts.what.name}: "
    return entry.name, marks + size, trained_on, facts.licence, "verified"


def _brief(entry: StoreEntry) -> dict[str, Any]:
    """What `list --json` says of one model."""
    brief: dict[str, Any] = {"name": entry.name, "path": str(entry.path), "problem": entry.problem}
    if entry.package is not None:
        facts = entry.package.info
        brief |= {
            "sha256": entry.package.sha256,
            "network": facts.network,
            "data_origin": facts.data_origin,
            "licence": facts.licence,
        }
    return brief
