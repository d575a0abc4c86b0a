"""Cyrus IMAP 3 beside this server: a throw-away configuration in a directory of its own, on unprivileged ports.

It writes as durably as it does by default, keeps its processes for 250 clients each, and announces by `idled`.
Debian's packages of Cyrus and Dovecot exclude each other; where `cyrus-imapd` is unpacked beside an installed
`cyrus-common` (apt-get download, dpkg -x), CYRUS_BIN names the folder with its `imapd`.
"""

import imaplib
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from bench.servers import HOST, PASSWORD, USERS, Server, Unavailable, certificate, user

_PLACES = ("/usr/lib/cyrus/bin", "/usr/lib/cyrus-imapd", "/usr/libexec/cyrus-imapd")
_REALM = "example.org"
_SERVICES = """
START {{
  recover cmd="{common}/ctl_cyrusdb -C {conf} -r"
}}
SERVICES {{
  imap cmd="{folder}/imapd -C {conf} -U 250" listen="{host}:{imap}" prefork=8 maxchild=8000
  imaps cmd="{folder}/imapd -C {conf} -U 250 -s" listen="{host}:{imaps}" prefork=2 maxchild=8000
  lmtp cmd="{common}/lmtpd -C {conf} -a -U 250" listen="{host}:{lmtp}" prefork=8 maxchild=100
}}
EVENTS {{
  checkpoint cmd="{common}/ctl_cyrusdb -C {conf} -c" period=30
}}
DAEMON {{
  idled cmd="{folder}/idled -C {conf}"
}}
"""
_SETTINGS = """
configdirectory: {directory}/conf
defaultpartition: default
partition-default: {directory}/spool
sievedir: {directory}/sieve
proc_path: {directory}/proc
mboxname_lockpath: {directory}/lock
idlesocket: {directory}/socket/idle
lmtpsocket: {directory}/socket/lmtp
notifysocket: {directory}/socket/notify
servername: {realm}
admins: cyrus
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {directory}/sasldb2
sasl_mech_list: PLAIN
virtdomains: userid
defaultdomain: {realm}
altnamespace: yes
unixhierarchysep: yes
autocreate_quota: 0
autocreate_post: yes
autocreate_inbox_folders: Archive|Drafts|Junk|Sent|Trash
lmtp_downcase_rcpt: yes
duplicatesuppression: no
imapidlepoll: 60
umask: 077
hashimapspool: yes
search_engine: none
tls_server_cert: {certificate}
tls_server_key: {key}
"""
_FOLDERS = (
    "conf", "conf/db", "conf/log", "conf/msg", "conf/user", "conf/quota", "conf/socket", "spool", "sieve", "socket",
    "proc", "lock",
)  # fmt: skip


class Cyrus(Server):
    """Cyrus with IMAP, LMTP and idled."""

    name = "cyrus"
    crowd = 200  # a process of more than three megabytes for each

    def start(self) -> None:
        """Start it on empty mailboxes."""
        own = os.environ.get("CYRUS_BIN")
        places = [Path(place) for place in ((own,) if own else ()) + _PLACES]
        folder = next((place for place in places if (place / "imapd").exists()), None)
        common = next((place for place in places if (place / "master").exists()), None)
        if folder is None or common is None or (tool := shutil.which("saslpasswd2", path="/usr/sbin:/usr/bin")) is None:
            raise Unavailable("Cyrus is not installed (Debian: cyrus-imapd sasl2-bin; CYRUS_BIN names its folder)")
        if os.geteuid() != 0:
            raise Unavailable("its master has to be started by root, to become the user cyrus")
        try:
            self._owner = pwd.getpwnam("cyrus")
        except KeyError:
            raise Unavailable("Cyrus needs the account cyrus of its package") from None
        self._tool = tool
        told = subprocess.run(  # noqa: S603
            [str(common / "cyr_info"), "version"], check=False, capture_output=True, text=True, timeout=30
        )
        found = re.search(r"\d+\.\d+\.\d+", told.stdout)
        self.version = found[0] if found else "of unknown version"
        self._configure(folder, common)
        self._command = [str(common / "master"), "-C", str(self.directory / "imapd.conf")]
        self._command += ["-M", str(self.directory / "cyrus.conf"), "-p", str(self.directory / "master.pid"), "-D"]
        self.run()
        self.add_users(1, USERS)

    def _configure(self, folder: Path, common: Path) -> None:
        self.directory.chmod(0o755)
        for name in _FOLDERS:
            (self.directory / name).mkdir(exist_ok=True)
        cert, key = certificate(self.directory)
        conf = self.directory / "imapd.conf"
        conf.write_text(_SETTINGS.format(directory=self.directory, realm=_REALM, certificate=cert, key=key), "utf-8")
        services = _SERVICES.format(
            folder=folder,
            common=common,
            conf=conf,
            host=HOST,
            imap=self.imap_port,
            imaps=self.imaps_port,
            lmtp=self.lmtp_port,
        )
        (self.directory / "cyrus.conf").write_text(services, "utf-8")
        for path in (self.directory, *(self.directory / name for name in _FOLDERS)):
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)

    def run(self) -> None:
        """Start it on what is kept."""
        (self.directory / "master.pid").unlink(missing_ok=True)
        self.launch(self._command)

    def add_users(self, first: int, last: int) -> None:
        """Put them into the database of SASL and have their inboxes made."""
        place = self.directory / "sasldb2"
        for number in range(first, last + 1):
            subprocess.run(  # noqa: S603
                [self._tool, "-p", "-c", "-f", str(place), "-u", _REALM, f"user{number:03d}"],
                input=PASSWORD.encode(),
                check=True,
                timeout=30,
            )
        os.chown(place, self._owner.pw_uid, self._owner.pw_gid)
        # It makes an inbox at the first sign-in, but refuses one of two deliveries that would both have to make it.
        for number in range(first, last + 1):
            with imaplib.IMAP4(HOST, self.imap_port, timeout=30) as client:
                client.login(user(number), PASSWORD)
