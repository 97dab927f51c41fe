"""Runs the contents of an image as a container engine would, for scripts/check-image.

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
    """Runs the entry point in the image, as its user, on a read-only root, without privileges."""
    prefix = []
    if KINDS[platform.machine()] != kind:
        emulator = shutil.which("qemu-aarch64-static" if kind == "arm64" else "qemu-x86_64-static")
        if emulator is None:
            print(f"not run: this machine cannot run {kind} (qemu-user-static could)")
            return
        shutil.copy2(emulator, root / "qemu")
        prefix = ["/qemu"]
    # Like an engine. Names are resolved with these files.
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
        fail(f"--version ended with {code}: {out}{err}")
    choose_mode(image, answer)
    look_up_names(image, start)
    find_authorities(image, start)
    serve(image, start, answer)


def choose_mode(image, answer):
    """Without an argument the variables decide: service mode with a client of ConductorOne, otherwise a one-shot sync."""
    if image["CMD"]:
        fail(f"the image has default arguments: {image['CMD']}")
    database = {"BATON_CONNECTION_STRING": "postgres://baton:example@127.0.0.1:1/retool"}
    client = {"BATON_CLIENT_ID": "name@127.0.0.1:1/pcc", "BATON_CLIENT_SECRET": "a:b:v1:c"}
    # The root is read-only here, so a one-shot sync fails when it writes the file.
    for more, expected in ((client, "invalid client secret"), ({}, "/tmp")):
        code, _, err = answer([*image["ENTRYPOINT"], "-f", "/tmp/sync.c1z"], env={**database, **more})
        if code == 0 or expected not in err:
            fail(f"without an argument it should say \"{expected}\" and ends with {code}: {err}")


def look_up_names(image, start):
    """A static program has to resolve names itself: by DNS as in /etc/resolv.conf, here in its own network."""
    if os.fork() == 0:
        status = 1
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(CLONE_NEWNET) != 0:
                fail(f"no network of its own: {os.strerror(ctypes.get_errno())}")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
            answer_names()
            for name, expected in (("retool-db.test", "Connection refused"), ("nowhere.test", "failed to lookup")):
                database = f"postgres://baton:example@{name}:1/retool"
                line = first_line(start, image, database, "cannot connect")
                if expected not in line:
                    fail(f"{name} should give \"{expected}\" and gives: {line}")
            status = 0
        finally:
            os._exit(status)
    if os.wait()[1] != 0:
        fail("names are not found by DNS")


def answer_names():
    """Answers DNS at 127.0.0.1: retool-db.test is this machine, no other name exists."""
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
    """The certificates of the image are where the program expects them: without them it exits at once."""
    database = "postgres://baton:example@127.0.0.1:1/retool?sslmode=verify-full&sslrootcert=system"
    first_line(start, image, database, "Connection refused")
    line = first_line(start, image, database, "no certificate authorities", env={"SSL_CERT_FILE": "/nowhere.pem"})
    if "/nowhere.pem" not in line:
        fail(f"authorities come from elsewhere: {line}")


def first_line(start, image, database, text, env=None):
    """The first log line with this text within some seconds."""
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
        fail(f"no line has \"{text}\": {''.join(lines)}")
    finally:
        timer.cancel()
        server.kill()


def serve(image, start, answer):
    """With the variables of a tenant's Deployment from the chart, and free ports."""
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
                fail(f"serve ended with {server.returncode}: {server.stderr.read()}")
            time.sleep(0.1)
        else:
            code, _, err = answer([*ask, "health"], env=health)
            fail(f"the server does not read the database: {err}")
        code, out, err = answer(image["HEALTHCHECK"], env=health)
        if (code, out, err) != (0, "", ""):
            fail(f"HEALTHCHECK ended with {code}: {out}{err}")
        status = Path(f"/proc/{server.pid}/status").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1])
        print(f"serves as user {image['USER']} on a read-only root, with {resident / 1024:.1f} MiB")
        server.send_signal(signal.SIGTERM)
        _, log = server.communicate(timeout=30)
        if server.returncode != 0:
            fail(f"SIGTERM ended it with {server.returncode}: {log}")
        if complaints := [line for line in log.splitlines() if '"level":"info"' not in line]:
            fail(f"the log of a quiet start complains: {complaints}")
        if answer(image["HEALTHCHECK"], env=health)[0] == 0:
            fail("HEALTHCHECK is content with a server that is gone")
    finally:
        server.kill()


def chart_variables():
    rendered = (REPOSITORY / "helm/tests/rendered/tenant.yaml").read_text()
    variables = dict(re.findall(r'- name: (\w+)\n +value: "(.*)"', rendered))
    if "BATON_HOST_ID" not in variables:
        fail("helm/tests/rendered/tenant.yaml has no variables")
    return variables


def make_database(image, answer):
    """A sample organization on the throwaway Postgres; the name of its host is in the image's /etc/hosts."""
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
        fail(f"setup-sql ended with {code}: {err}")
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
        fail(f"{' '.join(map(str, command))} ended with {result.returncode}")


def fail(why):
    print(f"check-image: {why}", file=sys.stderr)
    sys.exit(1)
