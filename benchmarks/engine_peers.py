"""stagegraph and its peers side by side: what an engine costs per node, and what it does in parallel.

    python benchmarks/engine_peers.py                                 # everything; about 25 minutes
    python benchmarks/engine_peers.py --peers stagegraph,hamilton --cases chain-100,build-1000 --rounds 1

Needs the standard library alone. Each peer gets a virtual environment of its own under the cache folder, made with pip
when it is missing; without a network, what is not installed is recorded as absent. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ("stagegraph_bare", "stagegraph", "loop", "networkx", "dask", "hamilton", "langgraph", "haystack", "kedro")
OURS = ("stagegraph_bare", "stagegraph")


class Case(NamedTuple):
    """What is measured: `kind` and `size` as the worker takes them, and how a sample reads in the table."""

    kind: str
    size: int
    what: str
    unit: str
    read: Callable[[Mapping[str, float]], float]


def _cpu(per: int, scale: float) -> Callable[[Mapping[str, float]], float]:
    return lambda sample: sample["cpu"] / per * scale


def _wall_ms(sample: Mapping[str, float]) -> float:
    return sample["wall"] * 1e3


CASES: dict[str, Case] = {
    "chain-100": Case("chain", 100, "run a chain of 100", "µs CPU a node", _cpu(100, 1e6)),
    "chain-1000": Case("chain", 1000, "run a chain of 1,000", "µs CPU a node", _cpu(1000, 1e6)),
    "chain-10000": Case("chain", 10000, "run a chain of 10,000", "µs CPU a node", _cpu(10000, 1e6)),
    "fan-1000": Case("fan", 1000, "run a fan-out of 1,000", "µs CPU a node", _cpu(1001, 1e6)),
    "dag-300": Case("dag", 300, "run a random graph of 300, p = 0.01", "µs CPU a node", _cpu(301, 1e6)),
    "build-1000": Case("build", 1000, "build and check a chain of 1,000", "µs CPU a node", _cpu(1000, 1e6)),
    "grow-1000": Case("grow", 1000, "add a node to it, check it again", "ms CPU", _cpu(1, 1e3)),
    "warm-100": Case("warm", 100, "run a chain of 100 again, all kept", "µs CPU a node", _cpu(100, 1e6)),
    "payload-20": Case("payload", 20, "64 MiB through a chain of 20", "ms CPU", _cpu(1, 1e3)),
    "overlap-8": Case("overlap", 8, "8 sleeps of 50 ms at once", "ms", _wall_ms),
    "barrier": Case("barrier", 50, "50 + 200 ms beside 200 ms", "ms", _wall_ms),
    "import": Case("import", 0, "import it", "ms CPU", _cpu(1, 1e3)),
}


#: Run with a statement as its argument: what importing costs an interpreter that has imported nothing else.
IMPORTING = """\
import sys, time
cpu, wall = time.process_time(), time.perf_counter()
exec(sys.argv[1])
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
import json, resource
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"samples": [{"cpu": cpu, "wall": wall}], "peak_bytes": peak}))
"""


class Peer(NamedTuple):
    """An engine in an interpreter of its own; without `python`, `absent` says why."""

    name: str
    module: str
    python: Path | None
    facts: dict[str, Any]
    versions: dict[str, str]
    absent: str = ""


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write what came out."""
    options = _options(arguments)
    peers = [peer(name, options.cache, options.install) for name in options.peers]
    results: dict[str, dict[str, Any]] = {p.name: {} for p in peers}
    for number in range(1, options.rounds + 1):
        for name in options.cases:
            for each in peers:
                result = results[each.name].setdefault(name, {"samples": [], "peak_bytes": 0})
                if each.python is not None and "error" not in result:  # what failed once is not tried again
                    _add(result, measure(each, CASES[name], options.repeats, options.limit))
                    _tell(f"round {number}  {name:12} {each.name:16} {_cell(CASES[name], result)}")
    report = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine(),
        "rounds": options.rounds,
        "repeats": options.repeats,
        "limit_seconds": options.limit,
        "peers": {p.name: {**p.facts, "versions": p.versions, "absent": p.absent} for p in peers},
        "results": results,
    }
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    text = markdown(report)
    if options.markdown is not None:
        options.markdown.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stagegraph" / "benchmarks"
    parser.add_argument("--peers", type=_some_of(PEERS), default=list(PEERS), help=f"some of {','.join(PEERS)}")
    parser.add_argument("--cases", type=_some_of(CASES), default=list(CASES), help=f"some of {','.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often every case of every peer is measured anew")
    parser.add_argument("--repeats", type=int, default=7, help="samples of a case in a round, at most")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds after which a case is given up")
    parser.add_argument("--cache", type=Path, default=cache, help="where the environments are; %(default)s")
    parser.add_argument("--no-install", dest="install", action="store_false", help="use only what is installed")
    parser.add_argument("--json", type=Path, help="write every sample there")
    parser.add_argument("--markdown", type=Path, help="write the table there, not to standard output")
    return parser.parse_args(arguments)


def _some_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f'there is no "{name}"; there are {", ".join(known)}')
        return names

    return read


def peer(name: str, cache: Path, install: bool) -> Peer:
    """An engine, installed if it is not and may be."""
    module = f"with_{name}"
    facts = facts_of(HERE / "peers" / f"{module}.py")
    requirements: list[str] = facts["requirements"]
    folder = cache / ("stagegraph" if name in OURS else name)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    try:
        if install and not set(requirements) <= versions(python, requirements).keys():
            _tell(f"installing {' '.join(requirements)} in {folder}")
            venv.create(folder, with_pip=True)
            ours = ["-e", str(ROOT)] if name in OURS else []
            wanted = [*ours, *(each for each in requirements if each != "stagegraph")]
            command = [str(python), "-m", "pip", "install", "--quiet", *wanted]
            subprocess.run(command, check=True, capture_output=True, text=True)
        found = versions(python, requirements)
    except (OSError, subprocess.CalledProcessError) as error:
        told = error.stderr.strip().splitlines() if isinstance(error, subprocess.CalledProcessError) else [str(error)]
        return Peer(name, module, None, facts, {}, f"could not be installed: {told[-1] if told else error}")
    missing = [each for each in requirements if each not in found]
    return Peer(name, module, None if missing else python, facts, found, f"not installed: {missing}" if missing else "")


def facts_of(path: Path) -> dict[str, Any]:
    """What an adapter says of itself, read without importing it: only its own environment can."""
    facts: dict[str, Any] = {}
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if name in ("REQUIREMENTS", "IMPORT", "SETTING"):
                facts[name.lower()] = ast.literal_eval(statement.value)
    return facts


def versions(python: Path, requirements: list[str]) -> dict[str, str]:
    """The installed versions of distributions, as an interpreter sees them."""
    if not python.exists():
        return {}
    code = "import json, sys, worker; print(json.dumps(worker.versions(sys.argv[1:])))"
    command = [str(python), "-c", code, *requirements]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE / "peers", check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def measure(peer: Peer, case: Case, repeats: int, limit: float) -> dict[str, Any]:
    """One case of one peer in a fresh interpreter: its samples, or its error."""
    command = [str(peer.python), "worker.py", peer.module, case.kind, str(case.size), str(repeats)]
    if case.kind == "import":
        command = [str(peer.python), "-c", IMPORTING, peer.facts["import"]]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=HERE / "peers", env=environment, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return {"error": f"over {limit:g} s"}
    if done.returncode < 0:
        return {"error": f"died: {signal.Signals(-done.returncode).name}"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["it failed"])[-1][:200]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # some print when they are imported
    return result


def _add(result: dict[str, Any], more: Mapping[str, Any]) -> None:
    result["samples"] += more.get("samples", [])
    result["peak_bytes"] = max(result["peak_bytes"], more.get("peak_bytes", 0))
    if "error" in more:
        result["error"] = more["error"]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return {"cpu": model, "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


def markdown(report: Mapping[str, Any]) -> str:
    """The report as tables: medians, minima in brackets."""
    peers: Mapping[str, Any] = report["peers"]
    names = [name for name in peers if not peers[name]["absent"]]
    results = report["results"]
    cases = {name: case for name, case in CASES.items() if any(name in results[peer] for peer in peers)}
    rows = [
        [f"{case.what}, {case.unit}", *(_cell(case, results[name][key]) for name in names)]
        for key, case in cases.items()
    ]
    for key in ("chain-1000", "payload-20"):
        if key in cases:
            peaks = [results[name][key]["peak_bytes"] for name in names]
            told = [f"{peak / 2**20:.0f}" if peak else "–" for peak in peaks]
            rows.append([f"peak memory of the process, {cases[key].what}, MiB", *told])
    lines = [
        _introduction(report),
        "",
        *_table(["", *names], rows),
        "",
        *_failures(report, cases),
        "| peer | versions | how it is used |",
        "|--|--|--|",
        *(
            f"| {name} | {', '.join(f'{d} {v}' for d, v in about['versions'].items())} "
            f"| {about['absent'] or about['setting']} |"
            for name, about in peers.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _introduction(report: Mapping[str, Any]) -> str:
    on = report["machine"]
    return (
        f"Measured on {report['date']}: {on['cpu']}, {on['cores']} cores, {on['system']}, Python {on['python']}. "
        f"{report['rounds']} rounds, peer after peer; in each a new interpreter for every case of every peer, with up "
        f"to {report['repeats']} samples. Medians, with the least in brackets."
    )


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["--"] + ["--:"] * (len(head) - 1), *rows)]


def _cell(case: Case, result: Mapping[str, Any]) -> str:
    """A median and the least; what went wrong in a word; a dash for what a peer does not have."""
    if "error" in result:
        return "–" if result["error"] == "none" else f"**{result['error'].partition(':')[0]}**"
    values = [case.read(sample) for sample in result["samples"]]
    return f"{_number(statistics.median(values))} ({_number(min(values))})" if values else "–"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _failures(report: Mapping[str, Any], cases: Mapping[str, Case]) -> list[str]:
    told = [
        f"- {name}, {cases[key].what}: {result['error']}"
        for name, results in report["results"].items()
        for key, result in results.items()
        if result.get("error", "none") != "none"
    ]
    return ["What failed:", "", *told, ""] if told else []


if __name__ == "__main__":
    sys.exit(main())
