"""Clients side by side: the same requests to the same server, each client in a process and an environment of its own.

In: which requests, at which latencies, and our own row (`throughput.compare`) among the others. Out: the clients
(`peers/`) and installing them (`make bench-peers`): nothing here reaches beyond this machine. A client's time is that
of its whole call, with its own set-up and the writing of its results, without its imports (a small call goes before
the measured one); ours is that of the whole asset. Every share is of the bare client's rate in the same turn.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
from peers.clients import BARE, CLIENTS, Client, PeerFailureError, measure
from peers.exchange import Options
from throughput import DOCUMENT_CHARS, FILES, STRATEGY, compare
from workbench.project import Figure, document, model_server, report

from synth_assets.strategies import by_name

OURS = "this project (the whole asset: segmentation, keys, ledger, table)"


@dataclasses.dataclass(frozen=True)
class Setting:
    """One latency of the server, and how much is sent to it."""

    name: str
    latency_seconds: float
    """The median, where `sigma` (of a log-normal distribution) is over 0."""
    sigma: float
    in_flight: int
    waves: int
    has_to_lead: bool
    """Whether our rate has to be above that of every library."""

    @property
    def documents(self) -> int:
        """How many documents, and requests: one document fits into one request."""
        return self.in_flight * self.waves


SETTINGS = (
    Setting("fixed 50 ms, 64 in flight", 0.05, 0.0, 64, 200, has_to_lead=True),
    Setting("1 to 4 s (log-normal), 256 in flight", 2.0, 0.35, 256, 10, has_to_lead=False),
)

Turn = dict[str, float | PeerFailureError]
"""Requests/s of each client by name, or why there is no figure."""


def write_requests(path: Path, count: int) -> None:
    """Write the strategy's prompt for each of the first `count` documents of `write_corpus`."""
    strategy = by_name(STRATEGY)
    with path.open("w") as file:
        for number in range(count):
            source = document(number, DOCUMENT_CHARS)
            texts = {message.role: message.content for message in strategy.messages(source["title"], source["text"])}
            file.write(json.dumps({"document_id": str(number), **texts}) + "\n")


def one_turn(address: str, setting: Setting, clients: Sequence[Client]) -> Turn:
    """Measure each client, and then our asset."""
    found: Turn = {}
    with tempfile.TemporaryDirectory() as folder:
        requests = Path(folder, "requests.jsonl")
        write_requests(requests, setting.documents)
        for client in clients:
            with tempfile.TemporaryDirectory(dir=folder) as own:
                sampling = dataclasses.asdict(by_name(STRATEGY).sampling)
                options = Options(
                    address=address,
                    model="bench-model",
                    requests_file=str(requests),
                    in_flight=setting.in_flight,
                    folder=own,
                    variant=client.variant,
                    **sampling,
                )
                try:
                    found[client.name] = setting.documents / measure(client, options)
                except PeerFailureError as failure:
                    found[client.name] = failure
            click.echo(f"  {client.name}: {_rate(found[client.name])}")
    found[OURS] = setting.documents / compare(address, setting.in_flight, setting.documents)[0]
    click.echo(f"  {OURS}: {_rate(found[OURS])}")
    return found


def _rate(found: float | PeerFailureError) -> str:
    return f"failed: {found}" if isinstance(found, PeerFailureError) else f"{found:.1f} requests/s"


def figures(setting: Setting, turns: Sequence[Turn]) -> list[Figure]:
    """A figure for each client and for ours, the fastest first; the middle of the turns counts."""
    bare = [rate for turn in turns if not isinstance(rate := turn[BARE.name], PeerFailureError)]
    if len(bare) < len(turns):
        raise SystemExit(f"The bare client, of which everything is a share, failed: {turns[0][BARE.name]}")
    notes = {
        client.name: [f"{client.extra_requests} more request of its own before the others"]
        for client in CLIENTS
        if client.extra_requests
    }
    rows = []
    rates: dict[str, float] = {}
    for name in turns[0]:
        found = [turn[name] for turn in turns]
        what = f"{name}, {setting.name}, {setting.documents} documents of 2 KB"
        against = f"{statistics.median(bare):.1f} requests/s (the bare client)"
        failures = [str(rate) for rate in found if isinstance(rate, PeerFailureError)]
        if failures:
            rows.append(Figure(what, "failed", against, None, "stated", None, "; ".join(dict.fromkeys(failures))))
            continue
        measured = [rate for rate in found if not isinstance(rate, PeerFailureError)]
        rates[name] = statistics.median(measured)
        share = statistics.median(rate / whole for rate, whole in zip(measured, bare, strict=True))
        note = "; ".join([f"{len(turns)} turns", *notes.get(name, ())])
        rows.append(Figure(what, f"{rates[name]:.1f} requests/s", against, share, "stated", None, note))
    if setting.has_to_lead:
        rows[-1] = _held_against_libraries(rows[-1], rates)
    return sorted(rows, key=lambda row: -(row.ratio or 0.0))


def _held_against_libraries(row: Figure, rates: dict[str, float]) -> Figure:
    """Our row with its target; nothing is claimed over a library that gave no figure."""
    libraries = [client.name for client in CLIENTS if client.is_library]
    missing = [name for name in libraries if name not in rates]
    leads = all(rates[OURS] > rates[name] for name in libraries if name in rates)
    return dataclasses.replace(
        row,
        target="above every library",
        is_reached=False if not leads else (None if missing else True),
        note=f"{row.note}; without a figure: {', '.join(missing)}" if missing else row.note,
    )


@click.command()
@click.option("--turns", default=1, help="How often each setting is measured.")
@click.option("--only", default="", help="Only settings whose name contains this.")
@click.option("--waves", default=0, help="Requests of each client ÷ requests in flight, where not the setting's own.")
def main(turns: int, only: str, waves: int) -> None:
    """Measure every client at every setting."""
    for setting in SETTINGS:
        if only not in setting.name:
            continue
        measured = dataclasses.replace(setting, waves=waves or setting.waves)
        with model_server(measured.latency_seconds, measured.sigma) as address:
            # Not measured: our own imports, as everybody's.
            compare(address, measured.in_flight, FILES)
            found = []
            for turn in range(turns):
                click.echo(f"{measured.name}, turn {turn + 1} of {turns}:")
                found.append(one_turn(address, measured, CLIENTS))
        report(figures(measured, found))


if __name__ == "__main__":
    main()
