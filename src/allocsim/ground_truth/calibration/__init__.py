"""Measures what the machine at hand takes for every event of the cost model.

`calibrate` runs C benchmarks in shuffled rounds and fits unit costs to their times;
docs/calibration.md tells the method and what the figures mean.
"""

from allocsim.ground_truth.calibration.calibrator import Calibrator, calibrate, calibrator
from allocsim.ground_truth.calibration.command import calibrate_command, remarks
from allocsim.ground_truth.calibration.figures import Calibration
from allocsim.ground_truth.calibration.measure import QUICK, THOROUGH, Effort
from allocsim.ground_truth.calibration.table import cost_file, cost_table

__all__ = [
    "QUICK",
    "THOROUGH",
    "Calibration",
    "Calibrator",
    "Effort",
    "calibrate",
    "calibrate_command",
    "calibrator",
    "cost_file",
    "cost_table",
    "remarks",
]
