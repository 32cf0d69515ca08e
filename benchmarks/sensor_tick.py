"""How long one tick of the sensor over the Curator folder takes, over growing numbers of files.

A folder gets as many small JSONL files as asked for, spread over subfolders. The project's own sensor is evaluated as
the daemon's code server does it, with an instance on disk and its cursor in its storage: the first tick, where every
file is new and its end is read; one with nothing changed; one with one changed file. The object store is moto's server
in this process (one Python thread, so its own time is most of the figure). Prints the median and the slowest of
the ticks. Run: `python benchmarks/sensor_tick.py 1000 5000`; `--local` leaves the object store out, which takes
minutes to fill at 5,000.
"""

from __future__ import annotations

import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

warnings.filterwarnings("ignore")

import dagster as dg  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402
from pyarrow.fs import S3FileSystem  # noqa: E402
from workbench.project import Figure, report  # noqa: E402

from resources.testing import FakeEndpoint  # noqa: E402
from synth_assets.dagster_home import open_instance  # noqa: E402
from synth_assets.definitions import project_defs  # noqa: E402
from synth_assets.project import build_project  # noqa: E402
from synth_assets.settings import Settings  # noqa: E402

LINE = '{"text": "An article of a few words."}\n'
logging.getLogger("werkzeug").setLevel(logging.ERROR)

QUIET_SECONDS = 3600
REPEATS = 5
Write = Callable[[str, str], None]


class Ticks:
    """The sensor with its cursor in an instance's storage, which is where the daemon keeps it."""

    def __init__(self, sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> None:
        self.sensor = sensor
        self.instance = instance
        self.cursor: str | None = None

    def measure(self, keeps_cursor: bool = True) -> tuple[float, int]:
        """Seconds, and runs asked for."""
        started = time.perf_counter()
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            result = self.sensor.evaluate_tick(context)
        if result.cursor is not None:
            self.instance.daemon_cursor_storage.set_cursor_values({"sensor_tick": result.cursor})
        seconds = time.perf_counter() - started
        if keeps_cursor:
            self.cursor = result.cursor
        return seconds, len(result.run_requests or [])


def measure(kind: str, address: str, write: Write, count: int, folder: str) -> None:
    names = [f"{number // 100:03}/{number:06}.jsonl" for number in range(count)]
    for name in names:
        write(name, LINE)
    settings = Settings.from_environment({"SYNTH_HOME": folder, "CURATOR_OUTPUT_DIR": address})
    fake = FakeEndpoint()
    project = build_project(settings, rephraser=fake, judge=fake)
    sensor = next(sensor for sensor in project_defs(project).sensors or [] if sensor.name == "curator_outputs")
    if kind == "s3":
        time.sleep(3)  # until the objects are older than the second in which two writes look alike
    with open_instance(Path(folder) / "dagster") as instance:
        ticks = Ticks(sensor, instance)
        show(kind, count, "all new", [ticks.measure(keeps_cursor=False) for _ in range(REPEATS)], 1)
        ticks.measure()
        show(kind, count, "nothing changed", [ticks.measure() for _ in range(REPEATS)], 0)
        changed = []
        for turn in range(REPEATS):
            write(names[turn], LINE * 2)
            if kind == "s3":
                time.sleep(3)
            changed.append(ticks.measure())
        show(kind, count, "one changed", changed, 1)
        size = f"{len(ticks.cursor or '') / 1000:.0f} kB"
        report([Figure(f"cursor of {count:,} files ({kind})", size, "", None, "", None)])


def show(kind: str, count: int, what: str, measured: list[tuple[float, int]], expected_runs: int) -> None:
    seconds = [second for second, _ in measured]
    assert {runs for _, runs in measured} == {expected_runs}, measured
    median, slowest = f"{statistics.median(seconds):.3f} s", f"slowest {max(seconds):.3f} s"
    report([Figure(f"tick over {count:,} files ({kind}), {what}", median, "", None, "", None, slowest)])


def local_writer(corpus: Path) -> Write:
    def write(name: str, content: str) -> None:
        path = corpus / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        moment = time.time() - QUIET_SECONDS + len(content)
        os.utime(path, (moment, moment))

    return write


@contextmanager
def object_store() -> Iterator[Write]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
    }
    store = S3FileSystem(
        endpoint_override=f"{host}:{port}", scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    store.create_dir("corpus")

    def write(name: str, content: str) -> None:
        with store.open_output_stream(f"corpus/curated/{name}") as stream:
            stream.write(content.encode())

    yield write
    server.stop()


if __name__ == "__main__":
    for count in [int(argument) for argument in sys.argv[1:] if argument.isdecimal()] or [1000, 5000]:
        with tempfile.TemporaryDirectory() as folder:
            corpus = Path(folder, "corpus")
            measure("local", str(corpus), local_writer(corpus), count, folder)
        if "--local" in sys.argv:
            continue
        with tempfile.TemporaryDirectory() as folder, object_store() as write_object:
            measure("s3", "s3://corpus/curated", write_object, count, folder)
