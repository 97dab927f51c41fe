"""Runs the contents of an image in the same way as a container engine, for scripts/check-image.

The entry point runs in the image's root directory, as the image's user, read-only, with a few devices and no other files,
and with a throwaway Postgres.
"""

import ctypes
import fcntl
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CLONE_NEWNET, SIOCSIFFLAGS, IFF_UP = 0x40000000, 0x8914, 1
KINDS = {"x86_64": "amd64", "aarch64": "arm64"}


def try_out(root, image, kind):
    """Runs the entry point in the image, as the user of the image, on a read-only root, without privileges."""
    prefix = []
    if KINDS[platform.machine()] != kind:
        emulator = shutil.which("qemu-aarch64-static" if kind == "arm64" else "qemu-x86_64-static")
        if emulator is None:
            print(f"skipped the run: this machine cannot run {kind}; install qemu-user-static")
            return
        shutil.copy2(emulator, root / "qemu")
        prefix = ["/qemu"]
    # A container engine also creates these files, which the program uses to resolve names.
    (root / "etc/hosts").write_text("127.0.0.1 localhost retool-postgres.test\n")
    (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    devices = ("null", "random", "urandom")
    for part in ("proc", "dev"):
        (root / part).mkdir()
    for device in devices:
        (root / "dev" / device).touch()
    run("mount", "--bind", root, root)
    run("mount", "-o", "remount,bind,ro,nosuid,nodev", root)
    run("mount", "-t", "proc", "-o", "ro", "proc", root / "proc")
    for device in devices:
        run("mount", "--bind", Path("/dev") / device, root / "dev" / device)

    user, group = map(int, image["USER"].split(":"))

    def start(command, **more):
        def confine():
            os.chroot(root)
            os.chdir("/")
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)

        environment = {**image["ENV"], **more.pop("env", {})}
        return subprocess.Popen([*prefix, *command], preexec_fn=confine, env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def answer(command, **more):
        process = start(command, **more)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    version = re.search(r'^version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.M)[1]
    code, out, err = answer([*image["ENTRYPOINT"], "--version"])
    if code != 0 or version not in out:
        fail(f"--version exited with {code}: {out}{err}")
    choose_mode(image, answer)
    look_up_names(image, start)
    find_authorities(image, start)
    serve(image, start, answer)


def choose_mode(image, answer):
    """Without an argument, client credentials of ConductorOne select service mode; otherwise the program runs a one-shot sync."""
    if image["CMD"]:
        fail(f"the image has default arguments: {image['CMD']}")
    database = {"BATON_CONNECTION_STRING": "postgres://baton:example@127.0.0.1:1/retool"}
    client = {"BATON_CLIENT_ID": "name@127.0.0.1:1/pcc", "BATON_CLIENT_SECRET": "a:b:v1:c"}
    # The root is read-only here, so a one-shot sync fails when it writes the file.
    for more, expected in ((client, "invalid client secret"), ({}, "/tmp")):
        code, _, err = answer([*image["ENTRYPOINT"], "-f", "/tmp/sync.c1z"], env={**database, **more})
        if code == 0 or expected not in err:
            fail(f"without an argument the program should report \"{expected}\", but exits with {code}: {err}")


def look_up_names(image, start):
    """A static program resolves names itself, with the DNS server in /etc/resolv.conf; here in a separate network."""
    if os.fork() == 0:
        status = 1
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(CLONE_NEWNET) != 0:
                fail(f"cannot create a network namespace: {os.strerror(ctypes.get_errno())}")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
            answer_names()
            for name, expected in (("retool-db.test", "Connection refused"), ("nowhere.test", "failed to lookup")):
                database = f"postgres://baton:example@{name}:1/retool"
                line = first_line(start, image, database, "cannot connect")
                if expected not in line:
                    fail(f"for {name} the program should report \"{expected}\", but reports: {line}")
            status = 0
        finally:
            os._exit(status)
    if os.wait()[1] != 0:
        fail("the program does not resolve names with DNS")


def answer_names():
    """A DNS server on 127.0.0.1: retool-db.test is this machine, and no other name exists."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    wanted = b"\x09retool-db\x04test\x00\x00\x01\x00\x01"

    def loop():
        while True:
            asked, caller = server.recvfrom(512)
            question = asked[12 : asked.index(b"\0", 12) + 5]
            found = question == wanted
            head = asked[:2] + struct.pack(">HHHHH", 0x8180, 1, int(found), 0, 0)
            record = struct.pack(">HHHIH4s", 0xC00C, 1, 1, 60, 4, bytes([127, 0, 0, 1])) if found else b""
            server.sendto(head + question + record, caller)

    threading.Thread(target=loop, daemon=True).start()


def find_authorities(image, start):
    """The program finds the certificates of the image. Without certificates it exits immediately."""
    database = "postgres://baton:example@127.0.0.1:1/retool?sslmode=verify-full&sslrootcert=system"
    first_line(start, image, database, "Connection refused")
    line = first_line(start, image, database, "no certificate authorities", env={"SSL_CERT_FILE": "/nowhere.pem"})
    if "/nowhere.pem" not in line:
        fail(f"the certificate authorities are not those of the image: {line}")


def first_line(start, image, database, text, env=None):
    """Returns the first log line with this text, within a time limit."""
    settings = {"BATON_CONNECTION_STRING": database, "BATON_LISTEN": "127.0.0.1:0", "BATON_HEALTH_CHECK": "false"}
    server = start([*image["ENTRYPOINT"], "serve"], env={**settings, **(env or {})})
    timer = threading.Timer(20, server.kill)
    timer.start()
    try:
        lines = []
        for line in server.stderr:
            lines.append(line)
            if text in line:
                return line
        fail(f"no log line contains \"{text}\": {''.join(lines)}")
    finally:
        timer.cancel()
        server.kill()


def serve(image, start, answer):
    """Runs the server with the variables of the chart for an existing customer, and with free ports."""
    health = {"BATON_HEALTH_CHECK_PORT": free_port()}
    ask = [image["ENTRYPOINT"][0], "health-check", "--endpoint"]
    server = start(
        [*image["ENTRYPOINT"], "serve"],
        env={
            **chart_variables(),
            "BATON_CONNECTION_STRING": make_database(image, answer),
            "BATON_LISTEN": f"127.0.0.1:{free_port()}",
            **health,
        },
    )
    try:
        for _ in range(300):
            if answer([*ask, "health"], env=health)[0] == 0:
                break
            if server.poll() is not None:
                fail(f"serve exited with {server.returncode}: {server.stderr.read()}")
            time.sleep(0.1)
        else:
            code, _, err = answer([*ask, "health"], env=health)
            fail(f"the server cannot read the database: {err}")
        code, out, err = answer(image["HEALTHCHECK"], env=health)
        if (code, out, err) != (0, "", ""):
            fail(f"HEALTHCHECK exited with {code}: {out}{err}")
        status = Path(f"/proc/{server.pid}/status").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1])
        print(f"serves as user {image['USER']} on a read-only root, with {resident / 1024:.1f} MiB")
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=30)
        if server.returncode != 0:
            fail(f"the server exited with {server.returncode} after SIGTERM: {log}")
        if complaints := [line for line in log.splitlines() if '"level":"info"' not in line]:
            fail(f"the log of a normal start has warnings: {complaints}")
        if answer(image["HEALTHCHECK"], env=health)[0] == 0:
            fail("HEALTHCHECK succeeds after the server has stopped")
    finally:
        server.kill()


def chart_variables():
    rendered = (REPOSITORY / "helm/tests/rendered/tenant.yaml").read_text()
    variables = dict(re.findall(r'- name: (\w+)\n +value: "(.*)"', rendered))
    if "BATON_HOST_ID" not in variables:
        fail("helm/tests/rendered/tenant.yaml lacks the variables")
    return variables


def make_database(image, answer):
    """Creates a sample organization on the throwaway Postgres. The name of its host is in /etc/hosts of the image."""
    prefix = os.environ["RETOOL_POSTGRES_PREFIX"]
    database, role, password = f"{prefix}retool", f"{prefix}baton", os.urandom(12).hex()

    def psql(name, text, *arguments):
        subprocess.run(["scripts/psql", name, *arguments], input=text, text=True, check=True,
                       cwd=REPOSITORY, stdout=subprocess.DEVNULL)

    retool = REPOSITORY / "retool"
    psql("postgres", f'CREATE DATABASE "{database}"')
    psql(database, (retool / "schema.sql").read_text())
    psql(database, (retool / "seed.sql").read_text())
    code, script, err = answer([image["ENTRYPOINT"][0], "setup-sql", "--role", role, "--extras"])
    if code != 0:
        fail(f"setup-sql exited with {code}: {err}")
    psql(database, script)
    psql(database, f"ALTER ROLE \"{role}\" PASSWORD '{password}'")
    port = os.environ["RETOOL_POSTGRES"].rsplit(":", 1)[1]
    return f"postgres://{role}:{password}@retool-postgres.test:{port}/{database}"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def run(*command, env=None):
    result = subprocess.run([str(part) for part in command], env=env, check=False)
    if result.returncode != 0:
        fail(f"{' '.join(map(str, command))} exited with {result.returncode}")


def fail(why):
    print(f"check-image: {why}", file=sys.stderr)
    sys.exit(1)
