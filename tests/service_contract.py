"""An import rule for import-linter: no module outside a video service's folder imports from it.

The registry loads services by their folders, so the rule covers new services without a list.
"""

from __future__ import annotations

from collections.abc import Collection

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output

from tenxsom_flow_engine.services.registry import built_in


class ServiceFoldersContract(Contract):
    """Services do not import each other, and the rest of the engine does not import them."""

    type_name = "service_folders"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find imports of a service's modules by modules outside its folder."""
        found = sorted(set(imports_from_outside(graph, built_in())))
        return ContractCheck(kept=not found, metadata={"imports": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the forbidden imports."""
        for line in check.metadata["imports"]:
            output.print_error(line, bold=False)


def imports_from_outside(graph: ImportGraph, folders: Collection[str]) -> list[str]:
    """Return the imports of modules in these packages by modules outside the same package, as `a -> b`."""
    return [
        f"{importer} -> {module}"
        for folder in folders
        for module in (folder, *graph.find_descendants(folder))
        for importer in graph.find_modules_that_directly_import(module)
        if importer != folder and not importer.startswith(f"{folder}.")
    ]
