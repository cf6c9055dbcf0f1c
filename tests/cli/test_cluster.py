"""`alphafold2 fold --ray`: the results of a run without Ray, whatever happens to workers."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_kit import names, refused

from alphafold2_pytorch.cli.main import fill_bare

ROOT = Path(__file__).parents[2]
FOUR = ">a\nMKTAY\n>b\nMKTAYIAK\n>c\nGSHMKTAYIAKQ\n>d\nMKTAYIAKQRQISFVK\n"
MOMENT = 0.005  # seconds


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("q.fasta --ray", "local"),
        ("--ray q.fasta -o out", "local"),
        ("--ray -o out q.fasta", "local"),
        ("--ray auto q.fasta", "auto"),
        ("--ray node-1:6379 q.fasta", "node-1:6379"),
        ("--ray ray://node-1:10001 q.fasta", "ray://node-1:10001"),
    ],
)
def test_the_address_may_be_left_out(words, address):
    words = words.split()
    filled = fill_bare(words)
    assert filled[filled.index("--ray") + 1] == address
    filled.remove(address)
    assert [*filled, address].count(address) == 1
    assert [word for word in filled if word != address] == [w for w in words if w != address]


def test_words_after_two_dashes_are_queries():
    assert fill_bare(["-o", "out", "--", "--ray"]) == ["-o", "out", "--", "--ray"]


def test_without_ray_the_extra_is_named(fold, write, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = fold(write("q.fasta", ">q\nMKTAY\n"), "--ray")
    assert refused(result, "--ray needs Ray: pip install 'alphafold2-pytorch[cluster]'")


def test_what_is_no_address_is_refused(fold, write):
    result = fold(write("q.fasta", ">q\nMKTAY\n"), "--ray=somewhere")
    assert refused(result, "--ray somewhere: an address is local, auto or HOST:PORT")


def test_a_cluster_that_does_not_answer_is_told_in_one_line(fold, write):
    pytest.importorskip("ray", reason="ray is not installed")
    result = fold(write("q.fasta", ">q\nMKTAY\n"), "--ray", "127.0.0.1:1")
    assert refused(result, "--ray 127.0.0.1:1: there is no Ray cluster", "refused")
    assert names(fold.out) == []


SIZE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}  # of a machine: room for a worker


@contextmanager
def two_machines(**second):
    """A cluster of two, as far as Ray can tell, and the second of them."""
    pytest.importorskip("ray", reason="ray is not installed")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={**SIZE, "include_dashboard": False})
    try:
        yield found, found.add_node(**SIZE, **second)
    finally:
        found.shutdown()


@pytest.fixture(scope="module")
def cluster():
    with two_machines() as (found, _):
        yield found


@pytest.fixture
def command(tmp_path):
    """Start the command in a process of its own, in the test's folder; `.call` waits for it."""
    started = []

    def start(*words):
        line = [sys.executable, "-m", "alphafold2_pytorch.cli.main", "fold", *map(str, words)]
        more = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        process = subprocess.Popen(
            line,
            cwd=tmp_path,
            env=os.environ | more,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # a shell's background jobs ignore Ctrl-C, and so would what they start
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    def call(*words):
        process = start(*words)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    start.call = call
    yield start
    for process in started:
        process.kill()
        process.communicate()


def folding(folder):
    """The processes that fold for a command of this folder, where they went for it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes().startswith(b"ray::Worker.fold"):
                if (process / "cwd").resolve() == folder.resolve():
                    found.append(int(process.name))
        except OSError:  # over by now
            continue
    return found


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(MOMENT)
    return found


def content(folder):
    """What is in the files of results, without what tells of the call and its time."""
    found = {}
    for name in names(folder):
        drawn = name.endswith(".html") or "/plots/" in name  # pages tell seconds
        if drawn or Path(name).name in ("timings.json", "stages.json"):
            found[name] = None
        elif Path(name).name == "settings.json":
            settings = json.loads((folder / name).read_text())
            del settings["command"]
            found[name] = settings
        else:
            found[name] = (folder / name).read_bytes()
    return found


def table(output):
    return output[output.index("query") :]


@pytest.mark.slow
def test_two_workers_write_the_files_of_a_run_without_ray(cluster, command, write, tmp_path):
    write("q.fasta", FOUR)
    options = ["--recycles", 1, "q.fasta"]
    plain = command.call(*options, "-o", "plain")
    spread = command.call(*options, "-o", "spread", "--ray", cluster.address)
    assert plain[0] == spread[0] == 0, spread
    assert content(tmp_path / "spread") == content(tmp_path / "plain")
    assert len(content(tmp_path / "plain")) > 4 * 8
    assert table(spread[1]) == table(plain[1])
    assert "d: wrote spread/d.pdb" in spread[1] and "4 queries" in spread[1]
    again = command.call(*options, "-o", "spread", "--ray", cluster.address)
    assert again[0] == 0 and again[1].count("skipped") == 4


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="this system has no /proc")
def test_a_query_whose_worker_is_killed_is_folded_by_another(cluster, command, write, tmp_path):
    write("q.fasta", FOUR)
    options = ["--recycles", 60, "q.fasta"]
    running = command(*options, "-o", "spread", "--ray", cluster.address)
    os.kill(wait_for(lambda: folding(tmp_path))[0], signal.SIGKILL)
    out, err = running.communicate(timeout=300)
    assert running.returncode == 0, out + err
    assert out.count("its worker died, attempt 2 of 3") == 1
    assert command.call(*options, "-o", "plain")[0] == 0
    assert content(tmp_path / "spread") == content(tmp_path / "plain")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="this system has no /proc")
def test_a_query_that_kills_each_worker_is_given_up(cluster, command, write, tmp_path):
    write("q.fasta", ">deadly\nMKTAYIAKQRQISFVKMKTAYIAKQRQISFVK\n")
    running = command("--recycles", 10_000, "q.fasta", "-o", "out", "--ray", cluster.address)
    killed = set()
    while len(killed) < 3:
        [pid, *_] = wait_for(lambda: set(folding(tmp_path)) - killed)
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    _, err = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "error: deadly: its worker died 3 times" in err and names(tmp_path / "out") == []


@pytest.mark.slow
def test_a_query_that_fails_is_told_once_and_the_others_are_folded(
    cluster, command, write, tmp_path
):
    write("q.fasta", FOUR + ">long\n" + "A" * 400_000 + "\n")
    write("bad.fasta", ">x\nMK1\n")
    options = ["--recycles", 0, "q.fasta", "bad.fasta"]
    plain = command.call(*options, "-o", "plain")
    spread = command.call(*options, "-o", "spread", "--ray", cluster.address)
    assert plain[0] == spread[0] == 1
    told = [line for line in spread[2].splitlines() if line.startswith("error: ")]
    assert len(told) == 3, spread[2]
    assert "'1' at position 3" in told[0] and "long: not enough memory" in told[1]
    assert told[2] == "error: 2 failed: bad.fasta, long" and told[2] in plain[2]
    assert content(tmp_path / "spread") == content(tmp_path / "plain")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="this system has no /proc")
def test_ctrl_c_ends_the_workers_and_leaves_no_half_of_a_result(cluster, command, write, tmp_path):
    write("q.fasta", FOUR)
    running = command("--recycles", 10_000, "q.fasta", "-o", "out", "--ray", cluster.address)
    wait_for(lambda: folding(tmp_path))
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=180)
    assert running.returncode != 0 and "Traceback" not in out + err
    wait_for(lambda: not folding(tmp_path))
    assert names(tmp_path / "out") == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="this system has no /proc")
def test_a_machine_that_dies_takes_no_query_with_it(command, write, tmp_path):
    write("q.fasta", FOUR)
    with two_machines() as (cluster, second):
        words = ["--recycles", 60, "q.fasta", "-o", "out", "--ray", cluster.address]
        running = command(*words)
        wait_for(lambda: len(folding(tmp_path)) == 2)
        cluster.remove_node(second, allow_graceful=False)
        out, err = running.communicate(timeout=300)
    assert running.returncode == 0, out + err
    assert out.count("its worker died, attempt 2 of 3") == 1
    assert all(f"{name}: wrote" in out for name in "abcd")


@pytest.mark.slow
def test_a_machine_with_other_versions_is_told_once_and_gets_no_query(command, write, tmp_path):
    write("q.fasta", FOUR)
    write("sitecustomize.py", "import platform\nplatform.python_version = lambda: '0.0'\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    with two_machines(env_vars={"PYTHONPATH": path}) as (cluster, _):
        words = ["--recycles", 0, "q.fasta", "-o", "out", "--ray", cluster.address]
        code, out, err = command.call(*words)
    [line] = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "python 0.0, the command runs with" in line and "worker on " in line
    assert code == 0 and all(f"{name}: wrote" in out for name in "abcd")


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_folder_says_so_in_one_line(tmp_path, write, tiny_weights):
    from alphafold2_pytorch.cli.batch import Batch
    from alphafold2_pytorch.cli.cluster import Facts, Worker
    from alphafold2_pytorch.cli.models import Models, Settings

    settings = Settings(
        recycles=0,
        seed=0,
        max_rows=None,
        ensemble=1,
        tolerance=None,
        templates=(),
        rank_by=None,
    )
    here = os.getcwd()
    gone = tmp_path / "gone"
    facts = Facts.of(Batch(gone, Models([tiny_weights], "cpu", settings), False), "cpu")
    argv = list(sys.argv)
    report = Worker().start(facts)
    sys.argv[:] = argv
    os.chdir(here)
    [(stream, text)] = [each for each in report.said if each[1].strip()]
    assert stream == "stderr" and "the folder of the results is not to be seen" in text
    assert str(gone) in text and text.count("\n") <= 1 and report.failed
