"""An import rule for import-linter: nothing imports a video service's folder from outside.

Only the registry loads services, by their folders, so a new one is covered without being listed anywhere.
"""

from __future__ import annotations

from collections.abc import Collection

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

from tenxsom_flow_engine.services.registry import built_in


class ServiceFoldersContract(Contract):
    """Services import neither each other nor are they imported by the rest of the engine."""

    type_name = "service_folders"

    #: Imports that are allowed all the same, such as `package.a -> package.b`.
    allowed = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find the imports of each service's modules from outside its folder."""
        allowed: Collection[str] = self.allowed or ()  # type: ignore[assignment]
        found = sorted(set(imports_from_outside(graph, built_in())) - set(allowed))
        return ContractCheck(kept=not found, metadata={"imports": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print the imports."""
        for line in check.metadata["imports"]:
            output.print_error(line, bold=False)


def imports_from_outside(graph: ImportGraph, folders: Collection[str]) -> list[str]:
    """Return the imports of modules in these packages by modules that are not in the same one, as `a -> b`."""
    return [
        f"{importer} -> {module}"
        for folder in folders
        for module in (folder, *graph.find_descendants(folder))
        for importer in graph.find_modules_that_directly_import(module)
        if importer != folder and not importer.startswith(f"{folder}.")
    ]
