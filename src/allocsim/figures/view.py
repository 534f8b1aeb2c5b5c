"""What figures draw: the results of an experiment, grouped, with a look for each policy."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from allocsim.experiment.results import Results, read_results
from allocsim.experiment.summary import Setting, best_settings, settings_of, varied_parameters
from allocsim.experiment.table import show_value
from allocsim.figures.style import Look, figure_names, looks_for


@dataclass(frozen=True)
class View:
    """The settings of an experiment, how its policies look, and names as figures show them.

    looks: of all policies of the experiment, also of those all of whose runs failed.
    """

    results: Results
    settings: list[Setting]
    looks: dict[str, Look]
    names: dict[str, str]

    @property
    def workloads(self) -> list[str]:
        """The workloads with results, in the experiment's order."""
        return list(dict.fromkeys(setting.workload for setting in self.settings))

    @property
    def labels(self) -> list[str]:
        """The policies with results, in the experiment's order."""
        found = {setting.label for setting in self.settings}
        return [label for label in self.looks if label in found]

    def settings_of(self, workload: str) -> list[Setting]:
        """The settings of one workload."""
        return [setting for setting in self.settings if setting.workload == workload]

    def shown(self, workload: str) -> list[tuple[Setting, str]]:
        """The settings of a workload that stand for all, each with the reason why."""
        tolerance = float(self.results.manifest["specification"]["tolerance"])
        return best_settings(self.settings_of(workload), tolerance)

    def unit(self, parameter: str) -> str:
        """The unit of a parameter, such as "bytes"."""
        return str(self.results.manifest["units"].get(parameter, ""))

    def varied(self, setting: Setting) -> str:
        """The values of the parameters in which a setting differs from others of its policy."""
        names = varied_parameters(self.settings, setting.label)
        found = {name: setting.parameters[name] for name in names if name in setting.parameters}
        if len(found) == 1:
            return "".join(show_value(value, self.unit(name)) for name, value in found.items())
        return "\n".join(self.parameter(name, value) for name, value in found.items())

    def parameter(self, name: str, value: float) -> str:
        """A parameter with its value: `tcache_count=16`."""
        return f"{self.name(name)}={show_value(value, self.unit(name))}"

    def name(self, text: str) -> str:
        """The name of a workload, policy or parameter as figures show it."""
        return self.names[text]

    def listed(self, texts: Iterable[str]) -> str:
        """Several names, joined by commas."""
        return ", ".join(self.name(text) for text in texts)

    def failed(self) -> list[str]:
        """A line that names the policies and workloads without any results, if there are some."""
        lost = [label for label in self.looks if label not in self.labels]
        lost += [name for name in self.results.manifest["workloads"] if name not in self.workloads]
        return [f"No results, all runs failed: {self.listed(lost)}"] if lost else []


def view_of(folder: Path) -> View:
    """The view of a results folder."""
    return view_of_results(read_results(folder))


def view_of_results(results: Results) -> View:
    """The view of results that were read."""
    labels = [str(label) for label in results.manifest["labels"]]
    settings = settings_of(results.rows)
    parameters = [name for setting in settings for name in setting.parameters]
    workloads = [*results.manifest["workloads"], *(setting.workload for setting in settings)]
    names = figure_names([*workloads, *labels, *(s.label for s in settings), *parameters])
    labels += [s.label for s in settings]
    return View(results, settings, looks_for(dict.fromkeys(labels)), names)


def by_label(settings: list[Setting]) -> dict[str, list[Setting]]:
    """The settings grouped by policy."""
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(setting.label, []).append(setting)
    return groups
