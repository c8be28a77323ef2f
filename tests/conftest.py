"""Shared by all tests: one thread each, helpers that can be imported by name, and no result that depends on speed."""

import importlib
import math
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before torch is imported, and for the processes that tests start: models are so small that threads only wait for
# each other, and pytest-xdist runs as many tests at a time as there are cores to share.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "helpers"))  # imported by name

# The same examples on every run and machine, however long one takes.
settings.register_profile(
    "reproducible", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("reproducible")

SCRIPTS = (
    "tests/test_ddp.py",
    "tests/test_faults_ddp.py",
    "tests/test_processes.py",
    "tests/test_sharded.py",
    "tests/test_inspection.py",
)
"""Files whose tests run scripts: on one worker, whose `run_script` has imported once what all of them need."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Whole files for each worker, since their fixtures train what their tests share; those that run scripts first.

    With `--dist loadfile`, which is the default here; any other way is xdist's own.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "scripts" if file in SCRIPTS else file

    return ByFile(config, log)


@pytest.fixture(scope="session")
def run_script():
    """Runs a script in a process of its own: `run_script([path, *arguments])`, see `script_server`."""
    from script_server import ScriptServer

    server = ScriptServer()
    yield server.run
    server.close()


@pytest.fixture(autouse=True)
def _keep_random_state():
    """Tests may seed the global generators; no test inherits another's seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture(autouse=True)
def _modules_that_can_be_looked_at(request, monkeypatch):
    """Hypothesis looks at every module there is while it draws; lazy ones import something then, or raise."""
    if hasattr(getattr(request, "function", None), "hypothesis"):
        for name, module in list(sys.modules.items()):
            if type(module).__name__ in ("LazyModule", "DeprecatedModuleRedirect"):  # SpeechBrain's
                monkeypatch.delitem(sys.modules, name)


@pytest.fixture(autouse=True)
def _background_evaluation(monkeypatch):
    """Tests train on the CPU, where the callback waits for the evaluation; here it runs in the background, as on a GPU.

    Fixtures of whole modules and tests in processes of their own see it wait.
    """
    monkeypatch.setattr("rankwatch.monitor.background_reading.WAITS_ON_CPU", False)


@pytest.fixture(autouse=True)
def _same_model_families():
    """Examples and tests register model families, which would stay for the tests that follow."""
    from rankwatch.extraction.execution import family_registry, model_families  # noqa: F401 - which registers the own
    from rankwatch.extraction.model import conventions

    families, layouts = list(family_registry.FAMILIES), dict(conventions._FRONT_END_LAYOUTS)
    yield
    family_registry.FAMILIES[:] = families
    conventions._FRONT_END_LAYOUTS.clear()
    conventions._FRONT_END_LAYOUTS.update(layouts)


@pytest.fixture(scope="session")
def real_allowance():
    """Seconds that a run is taken to last at least, as `ReadingSchedule` has it outside of the tests."""
    return importlib.import_module("rankwatch.runtime.reading_schedule")._ALLOWANCE


@pytest.fixture(scope="session", autouse=True)
def _readings_are_made_when_due(real_allowance):
    """On a slow machine readings would be made less often than asked for: `max_overhead` counts real seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rankwatch.runtime.reading_schedule._ALLOWANCE", math.inf)
        yield
