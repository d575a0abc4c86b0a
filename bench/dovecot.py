"""Dovecot 2.3 beside this server: a throw-away configuration in a directory of its own, on unprivileged ports.

Mail lies in Maildir, is fsynced as Dovecot does by default, and processes are kept and reused as its documentation
advises for busy servers. Nothing of an installed Dovecot's configuration, spool or processes is touched.
"""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from bench.machine import number_of_cores
from bench.servers import HOST, PASSWORD, USERS, Server, Unavailable, certificate, user

_CONFIGURATION = """
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/dovecot.log
protocols = imap lmtp
listen = {host}
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
default_client_limit = 20000
default_process_limit = 20000
mail_uid = {mail}
mail_gid = {mail_group}
first_valid_uid = 1
first_valid_gid = 1
mail_home = {directory}/mail/%u
mail_location = maildir:~/Maildir
mail_max_userip_connections = 0
verbose_proctitle = no
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {directory}/users
}}
userdb {{
  driver = static
  args = uid={mail} gid={mail_group} home={directory}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Archive {{
    auto = create
  }}
  mailbox Drafts {{
    auto = create
  }}
  mailbox Junk {{
    auto = create
  }}
  mailbox Sent {{
    auto = create
  }}
  mailbox Trash {{
    auto = create
  }}
}}
service imap-login {{
  chroot =
  service_count = 0
  client_limit = 20000
  process_limit = {cores}
  process_min_avail = {cores}
  inet_listener imap {{
    address = {host}
    port = {imap}
  }}
  inet_listener imaps {{
    address = {host}
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  service_count = 1024
  process_limit = 20000
  process_min_avail = 8
}}
service lmtp {{
  service_count = 0
  process_limit = 100
  process_min_avail = 8
  inet_listener lmtp {{
    address = {host}
    port = {lmtp}
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""
_STOPPED = ("dovecot.index", "dovecot.index.cache", "dovecot.index.log", "dovecot.index.log.2")


class Dovecot(Server):
    """Dovecot with IMAP and LMTP."""

    name = "dovecot"
    crowd = 400  # a process of half a megabyte for each

    def start(self) -> None:
        """Start it on empty mailboxes."""
        binary = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if binary is None:
            raise Unavailable("dovecot is not installed (Debian: dovecot-imapd dovecot-lmtpd)")
        told = subprocess.run([binary, "--version"], check=False, capture_output=True, text=True, timeout=30)  # noqa: S603
        self.version = told.stdout.split(" ")[0].strip()
        if not re.match(r"2\.3\.", self.version):
            raise Unavailable(
                f"dovecot {self.version or 'of unknown version'} is not 2.3, whose settings are known here"
            )
        for name in ("imap", "lmtp"):
            if not any((Path(place) / name).exists() for place in ("/usr/lib/dovecot", "/usr/libexec/dovecot")):
                raise Unavailable(f"dovecot's {name} is not installed (Debian: dovecot-{name}d)")
        self._command = [binary, "-F", "-c", str(self.directory / "dovecot.conf")]
        self._configure()
        self.run()

    def run(self) -> None:
        """Start it on what is kept."""
        self.launch(self._command)

    def _configure(self) -> None:
        internal, login, mail = self._users()
        cert, key = certificate(self.directory)
        text = _CONFIGURATION.format(
            certificate=cert,
            key=key,
            imaps=self.imaps_port,
            directory=self.directory,
            host=HOST,
            imap=self.imap_port,
            lmtp=self.lmtp_port,
            cores=number_of_cores(),
            internal=internal.pw_name,
            internal_group=internal.pw_gid,
            login=login.pw_name,
            mail=mail.pw_name,
            mail_group=mail.pw_gid,
        )
        text = text.replace(f"group = {internal.pw_gid}", f"group = {_group(internal.pw_gid)}")
        (self.directory / "dovecot.conf").write_text(text, "utf-8")
        self.add_users(1, USERS)
        self.directory.chmod(0o755)
        place = self.directory / "mail"
        place.mkdir()
        if os.geteuid() == 0:
            os.chown(place, mail.pw_uid, mail.pw_gid)

    def _users(self) -> tuple[pwd.struct_passwd, pwd.struct_passwd, pwd.struct_passwd]:
        """Return who runs the servers, the logins, and who owns mail: the package's accounts, or whoever we are."""
        if os.geteuid() != 0:
            me = pwd.getpwuid(os.geteuid())
            return me, me, me
        try:
            return pwd.getpwnam("dovecot"), pwd.getpwnam("dovenull"), pwd.getpwnam("nobody")
        except KeyError as error:
            raise Unavailable(f"dovecot needs the accounts of its package: {error}") from None

    def add_users(self, first: int, last: int) -> None:
        """Put them into the file that it reads passwords from."""
        with (self.directory / "users").open("a", encoding="utf-8") as file:
            file.writelines(f"{user(number)}:{{PLAIN}}{PASSWORD}::::::\n" for number in range(first, last + 1))

    def forget(self) -> None:
        """Remove indexes and caches. The list of UIDs, which cannot be made again, stays."""
        for folder, _, files in os.walk(self.directory / "mail"):
            for name in files:
                if name in _STOPPED:
                    (Path(folder) / name).unlink()


def _group(number: int) -> str:
    import grp

    return grp.getgrgid(number).gr_name
