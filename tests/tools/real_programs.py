#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts real programs through `ouro proxy`: Redis, PostgreSQL, nginx, with the clients that Debian
has for them.  What comes out must be the same as without the proxy.  Not a part of the test suite:
it needs redis-server, redis-tools, postgresql, nginx and wrk, and skips what is not installed.

    real_programs.py OURO [redis|postgresql|nginx]...

Exit status: 0 all that ran was right, 1 something was not, 77 nothing could run."""
import contextlib
import glob
import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from blackbox import Ouro, Skip, contains, equal, until  # noqa: E402
from proxying import counts, proxy  # noqa: E402

RUN_LIMIT = 300  # seconds


def find(name):
    """A program, also where Debian keeps PostgreSQL's."""
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    found = [path] if path else sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    if not found:
        raise Skip(f"{name} is not installed")
    return found[-1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*args, **options):
    done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True,
                          timeout=RUN_LIMIT, check=False, **options)
    if done.returncode != 0:
        raise AssertionError(f"{args[0]}: exit {done.returncode}: {done.stdout} {done.stderr}")
    return done.stdout + done.stderr


@contextlib.contextmanager
def server(port, *args, **options):
    """A program that listens on a port, with its children a group of its own."""
    with subprocess.Popen([str(arg) for arg in args], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, start_new_session=True, **options) as process:
        try:
            def listens():
                if process.poll() is not None:
                    raise AssertionError(f"{args[0]} ended: {process.returncode}")
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0
            until(f"{args[0]} listens", listens)
            yield process
        finally:
            kill(process)


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def say(text):
    print("  " + text, flush=True)


# --- Redis ---------------------------------------------------------------------------------------

@contextlib.contextmanager
def redis_server(folder):
    port = free_port()
    with server(port, find("redis-server"), "--port", port, "--save", "", "--dir", folder,
                "--enable-debug-command", "yes") as process:
        process.port = port
        yield process


def redis_load():
    """Commands as the protocol has them; the same each time."""
    for i in range(5000):
        words = ["SET", f"key:{i}", hashlib.sha256(b"%d" % i).hexdigest() * (1 + i % 50)]
        yield f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)


def redis_digest(port, through):
    cli = find("redis-cli")
    run(cli, "-p", port, "flushall")
    out = run(cli, "-p", through, "--pipe", input="".join(redis_load()))
    contains(out, "errors: 0, replies: 5000")
    return run(cli, "-p", through, "debug", "digest")


def check_redis(ouro, folder):
    benchmark = find("redis-benchmark")
    with redis_server(folder) as target, proxy(ouro, f"127.0.0.1:{target.port}") as front:
        direct = redis_digest(target.port, target.port)
        equal(redis_digest(target.port, front.port), direct, "the digest of the data")
        for options in (("-P", "1"), ("-P", "16"), ("-d", "20000", "-n", "1000"), ("-k", "0")):
            args = ["-n", "5000", "-c", "50", "-q", "-t", "set,get,incr,lpush,lrange_100"]
            out = run(benchmark, "-p", front.port, *args, *options)
            for test in ("SET:", "GET:", "INCR:", "LPUSH", "LRANGE_100"):
                contains(out, test)
            equal(re.findall("(?i)error", out), [], "errors of redis-benchmark")
        seen = counts(front)
        equal((seen["broken"], seen["no_target"]), (0, 0))
        say(f"redis: digest {direct.strip()[:12]}, {seen['accepted']} connections, "
            f"{seen['bytes_to_targets']} and {seen['bytes_to_clients']} bytes")
    with redis_server(folder) as first, redis_server(folder) as second, \
            proxy(ouro, f"127.0.0.1:{first.port},127.0.0.1:{second.port}") as front:
        cli = find("redis-cli")
        for i in range(40):
            if i == 20:
                kill(first)
            equal(run(cli, "-p", front.port, "echo", f"{i}").strip(), f"{i}")
        say("redis: 40 clients of two targets, one of which was killed: all answered")


# --- PostgreSQL ----------------------------------------------------------------------------------

def as_postgres():
    """The server refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgres_server(folder):
    port, data = free_port(), os.path.join(folder, "data")
    os.mkdir(data, 0o700)
    who = as_postgres()
    if who:
        os.chmod(folder, 0o755)
        os.chown(data, who["user"], who["group"])
    run(find("initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", cwd=data, **who)
    with server(port, find("postgres"), "-D", data, "-p", port, "-k", data, "-F", cwd=data,
                **who) as process:
        ready = [find("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        until("the database has started", lambda: subprocess.call(ready) == 0)
        process.port = port
        yield process


def sql(port, statement):
    return run(find("psql"), "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-Atc",
               statement).strip()


def check_postgresql(ouro, folder):
    pgbench = find("pgbench")
    who = ["-h", "127.0.0.1", "-U", "postgres"]
    sums = ("select (select sum(abalance) from pgbench_accounts), "
            "(select sum(bbalance) from pgbench_branches), "
            "(select sum(tbalance) from pgbench_tellers), "
            "(select sum(delta) from pgbench_history), (select count(*) from pgbench_history)")
    contents = "select md5(string_agg(a::text, ',' order by aid)) from pgbench_accounts a"
    with postgres_server(folder) as target, proxy(ouro, f"127.0.0.1:{target.port}") as front:
        run(pgbench, *who, "-p", target.port, "-i", "-q", "postgres")
        direct = sql(target.port, contents)
        run(pgbench, *who, "-p", front.port, "-i", "-q", "postgres")
        equal(sql(front.port, contents), direct, "the data that was loaded")
        for options in (("-t", "200"), ("-t", "20", "-C")):  # -C: a connection each transaction
            out = run(pgbench, *who, "-p", front.port, "-n", "-c", "8", *options,
                      "postgres")
            wanted = 8 * int(options[1])
            contains(out, f"transactions actually processed: {wanted}/{wanted}")
        *balances, count = sql(target.port, sums).split("|")
        equal(len(set(balances)), 1, f"the sums of the balances {balances}")
        equal(count, "1760", "transactions in the history")
        big = "select string_agg(md5(i::text), '') from generate_series(1, 200000) i"
        equal(sql(front.port, big) == sql(target.port, big), True, "a result of 6 MB")
        seen = counts(front)
        equal((seen["broken"], seen["no_target"]), (0, 0))
        say(f"postgresql: sums {balances[0]}, {seen['accepted']} connections, "
            f"{seen['bytes_to_targets']} and {seen['bytes_to_clients']} bytes")


# --- nginx ---------------------------------------------------------------------------------------

NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{ listen 127.0.0.1:{port}; root {folder}/root; }}
    server {{
        listen 127.0.0.1:{header_port} proxy_protocol; root {folder}/root;
        add_header X-Client $proxy_protocol_addr:$proxy_protocol_port;
    }}
}}
"""


@contextlib.contextmanager
def nginx_server(folder, name):
    folder = os.path.join(folder, name)
    port, header_port = free_port(), free_port()
    os.makedirs(folder + "/root")
    os.chmod(os.path.dirname(folder), 0o755)
    for file, size in (("small", 200), ("big", 3000000)):
        with open(f"{folder}/root/{file}", "wb") as out:
            out.write(hashlib.shake_256(file.encode()).digest(size))
    with open(folder + "/conf", "w", encoding="ascii") as out:
        out.write(NGINX.format(folder=folder, port=port, header_port=header_port))
    with server(port, find("nginx"), "-c", folder + "/conf", "-e", folder + "/error.log",
                "-p", folder) as process:
        process.port, process.header_port = port, header_port
        yield process


def fetch(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
        return answer.read(), answer.headers.get("X-Client")


def check_nginx(ouro, folder):
    wrk = find("wrk")
    with nginx_server(folder, "a") as first, nginx_server(folder, "b") as second:
        with proxy(ouro, f"127.0.0.1:{first.port}") as front:
            for path in ("small", "big"):
                equal(fetch(front.port, path) == fetch(first.port, path), True, "the same page")
            for args in ((), ("-H", "Connection: close")):
                out = run(wrk, "-t1", "-c32", "-d1s", *args, f"http://127.0.0.1:{front.port}/small")
                equal(re.findall("Socket errors|Non-2xx", out), [], out)
            seen = counts(front)
            equal(seen["no_target"], 0)
            say(f"nginx: {seen['accepted']} connections, {seen['bytes_to_clients']} bytes")
        for version in ("v1", "v2"):
            with proxy(ouro, f"127.0.0.1:{first.header_port}", "--send-proxy=" + version) as front:
                page, client = fetch(front.port, "big")
                equal(page == fetch(first.port, "big")[0], True, "the same page")
                equal(client.split(":")[0], "127.0.0.1")
                say(f"nginx: PROXY {version} is understood: the client is {client}")
        with proxy(ouro, f"127.0.0.1:{first.port},127.0.0.1:{second.port}") as front:
            load = subprocess.Popen([wrk, "-t1", "-c16", "-d3s", "-H", "Connection: close",
                                     f"http://127.0.0.1:{front.port}/small"],
                                    stdout=subprocess.PIPE, text=True)
            until("the load has begun", lambda: counts(front)["accepted"] > 100)
            kill(first)
            out = load.communicate(timeout=RUN_LIMIT)[0]
            equal(re.findall("Non-2xx", out), [], out)
            for _ in range(20):
                fetch(front.port, "small")
            equal(counts(front)["no_target"], 0)
            say("nginx: a target was killed under load: each client found the other one")


CHECKS = {"redis": check_redis, "postgresql": check_postgresql, "nginx": check_nginx}


def main():
    ouro_path, names = sys.argv[1], sys.argv[2:] or list(CHECKS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers end with this program
    passed = failed = 0
    for driver in ("uring", "epoll"):
        ouro = Ouro(os.path.abspath(ouro_path), driver)
        if driver == "uring" and not ouro.json("probe", "--json")[1]["uring_usable"]:
            print("uring: skipped: io_uring is not usable here")
            continue
        for name in names:
            print(f"{name} on {driver}", flush=True)
            begin = time.monotonic()
            try:
                with tempfile.TemporaryDirectory(prefix="ouro-") as folder:
                    CHECKS[name](ouro, folder)
                passed += 1
                say(f"right, {time.monotonic() - begin:.1f} s")
            except Skip as reason:
                say(f"skipped: {reason}")
            except Exception as error:  # the next one may be right
                failed += 1
                say(f"WRONG: {error!r}")
    return 1 if failed else 0 if passed else 77


if __name__ == "__main__":
    sys.exit(main())
