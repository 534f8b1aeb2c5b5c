"""What figures draw: the results of an experiment, grouped, with a look for each policy."""

from dataclasses import dataclass
from pathlib import Path

from allocsim.experiment.results import Results, read_results
from allocsim.experiment.summary import Setting, best_settings, settings_of, varied_parameters
from allocsim.experiment.table import show_value
from allocsim.figures.style import Look, looks_for


@dataclass(frozen=True)
class View:
    """The settings of an experiment and how its policies look."""

    results: Results
    settings: list[Setting]
    looks: dict[str, Look]

    @property
    def workloads(self) -> list[str]:
        """The workloads with results, in the experiment's order."""
        return list(dict.fromkeys(setting.workload for setting in self.settings))

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
        told = {name: setting.parameters[name] for name in names if name in setting.parameters}
        return ", ".join(show_value(value, self.unit(name)) for name, value in told.items())


def view_of(folder: Path) -> View:
    """The view of a results folder."""
    results = read_results(folder)
    labels = [str(label) for label in results.manifest["labels"]]
    return View(results, settings_of(results.rows), looks_for(labels))


def by_label(settings: list[Setting]) -> dict[str, list[Setting]]:
    """The settings grouped by policy."""
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        groups.setdefault(setting.label, []).append(setting)
    return groups
