"""Configuration files are read whole, and every mistake is told at once, with its line."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

from twisted.trial import unittest

from sora.core.config.load import load, parse
from sora.core.config.model import Configuration
from sora.core.config.secret import Secret
from sora.core.config.servers import Server
from sora.core.config.setting import Table, described
from sora.core.errors import ConfigurationInvalid

OWNERS_EXAMPLES = {
    "an IMAP proxy": (
        '[servers.imap_proxy]\nstart = true\naddr = ":1143"\nremote_addrs = ["backend1:143", "backend2:143"]\n'
    ),
    "shared mailboxes": (
        "[shared_mailboxes]\n"
        "enabled = true\n"
        'namespace_prefix = "Shared/"\n'
        "allow_user_create = true\n"
        'default_rights = "lrswipkxtea"\n'
    ),
    "the HTTP API": (
        "[servers.http_api]\n"
        "start = true\n"
        'addr = ":8080"\n'
        'api_key = "your-secure-api-key-here"\n'
        'allowed_hosts = ["127.0.0.1", "10.0.0.0/8"]\n'
    ),
    "client filters": (
        "[[server.client_filters]]\n"
        'ja4_fingerprint = "^t13d1516h2_.*"\n'
        'disable_caps = ["IDLE"]\n'
        'reason = "iOS Mail client with known IDLE issues"\n'
    ),
    "the relay and its queue": (
        "[relay]\n"
        'type = "smtp"\n'
        'smtp_host = "smtp.example.com:587"\n'
        "\n"
        "[relay_queue]\n"
        "enabled = true\n"
        'path = "/var/spool/sora/relay"\n'
        'worker_interval = "1m"\n'
        "batch_size = 100\n"
        "max_attempts = 10\n"
    ),
    "a cluster": (
        "   [cluster]\n"
        "   enabled = true\n"
        '   bind_addr = "0.0.0.0"\n'
        "   bind_port = 7946\n"
        '   node_id = "node-1"\n'
        '   peers = ["node-2:7946", "node-3:7946"]\n'
        '   secret_key = "base64-encoded-32-byte-key"\n'
    ),
}

MISTAKEN = """\
[servers.imap]
start = true
addr = ":143"
apend_limit = "3mb"

[servers.lmtp]
addr = "example.org:24"
append_limit = "3mb"

[database]
hosts = [
  "db1",   # a comment with ] and "
  "db2:5432",
]
password = "env:SORA_TEST_MISSING"

[cleanup]
grace_period = 14

[[server.client_filters]]
reason = "fine"
[[server.client_filters]]
ja4_fingerprint = "("

[auth]
bcrypt_cost = 40
insecure_auth = "yes"
"""


def complaints_of(document: str) -> list[str]:
    try:
        parse(document, Path("sora.toml"), {})
    except ConfigurationInvalid as error:
        return error.complaints
    return []


class OwnersExamplesTests(unittest.SynchronousTestCase):
    """The examples that operators know keep working."""

    def test_every_example_loads_without_a_complaint(self) -> None:
        self.assertEqual(
            {name: complaints_of(text) for name, text in OWNERS_EXAMPLES.items()},
            {name: [] for name in OWNERS_EXAMPLES},
        )

    def test_all_examples_together_are_one_configuration(self) -> None:
        configuration = parse("\n".join(OWNERS_EXAMPLES.values()), None, {})
        self.assertEqual(sorted(configuration.servers), ["http_api", "imap_proxy"])
        self.assertEqual(configuration.servers["http_api"].allowed_hosts[1], ip_network("10.0.0.0/8"))
        self.assertEqual(configuration.server.client_filters[0].disable_caps, ("IDLE",))
        self.assertEqual(configuration.relay_queue.worker_interval, 60.0)

    def test_what_is_not_built_yet_is_complained_about_only_when_it_is_to_be_started(self) -> None:
        configuration = parse("\n".join(OWNERS_EXAMPLES.values()), None, {})
        told = "\n".join(configuration.unsupported())
        for name in ("servers.imap_proxy", "servers.http_api", "relay", "relay_queue", "cluster"):
            self.assertIn(f"{name}: ", told)
        self.assertIn("not available in this version", told)
        resting = parse('[servers.imap_proxy]\nstart = false\naddr = ":1143"\n', None, {})
        self.assertEqual(resting.unsupported(), [])

    def test_fingerprints_are_had_only_of_lean_transports(self) -> None:
        text = '[process]\ntransport = "{}"\n[servers.imaps]\naddr = ":993"\ntls = true\ntype = "imap"\n'
        text += '[[servers.imaps.client_filters]]\nja4_fingerprint = "^t13d"\n'
        self.assertEqual(parse(text.format("lean"), None, {}).unsupported(), [])
        (complaint,) = parse(text.format("stock"), None, {}).unsupported()
        self.assertIn("servers.imaps.client_filters: ja4_fingerprint", complaint)


class MistakesTests(unittest.SynchronousTestCase):
    """A wrong file is answered with everything that is wrong."""

    def test_all_mistakes_are_reported_at_once_with_file_line_and_key(self) -> None:
        told = complaints_of(MISTAKEN)
        places = [complaint.split(": ")[:2] for complaint in told]
        self.assertEqual(
            places,
            [
                ["sora.toml:4", "servers.imap.apend_limit"],
                ["sora.toml:7", "servers.lmtp.addr"],
                ["sora.toml:8", "servers.lmtp.append_limit"],
                ["sora.toml:11", "database.hosts"],
                ["sora.toml:15", "database.password"],
                ["sora.toml:18", "cleanup.grace_period"],
                ["sora.toml:23", "server.client_filters[2].ja4_fingerprint"],
                ["sora.toml:26", "auth.bcrypt_cost"],
                ["sora.toml:27", "auth.insecure_auth"],
            ],
        )
        self.assertIn("did you mean append_limit?", told[0])
        self.assertIn("SORA_TEST_MISSING is not set", told[4])

    def test_an_unknown_section_and_an_unknown_type_are_mistakes(self) -> None:
        told = complaints_of('[databse]\nhosts = ["x"]\n[servers.mail]\naddr = ":1"\n')
        self.assertEqual(len(told), 2)
        self.assertIn("sora.toml:1: databse: unknown key; did you mean database?", told[0])
        self.assertIn("sora.toml:3: servers.mail.type: must be one of imap,", told[1])

    def test_a_table_where_a_value_belongs_and_the_reverse_are_mistakes(self) -> None:
        told = complaints_of('auth = 5\n[limits.message_max]\nx = 1\n[servers]\nimap = "yes"\n')
        self.assertEqual([line.split(": ")[1] for line in told], ["auth", "limits.message_max", "servers.imap"])

    def test_a_syntax_error_names_its_line(self) -> None:
        (told,) = complaints_of("[auth]\nbcrypt_cost = = 5\n")
        self.assertIn("sora.toml: not valid TOML", told)
        self.assertIn("line 2", told)

    def test_two_started_servers_on_one_address_are_a_mistake(self) -> None:
        told = complaints_of('[servers.imap]\naddr = ":143"\n[servers.lmtp]\naddr = "127.0.0.1:143"\n')
        self.assertEqual(told, ["sora.toml:4: servers.lmtp.addr: 127.0.0.1:143 is taken by servers.imap (:143)"])
        self.assertEqual(
            complaints_of('[servers.imap]\naddr = ":143"\n[servers.lmtp]\nstart = false\naddr = ":143"\n'), []
        )
        self.assertEqual(
            complaints_of('[servers.imap]\naddr = "[::1]:143"\n[servers.lmtp]\naddr = "127.0.0.1:143"\n'), []
        )

    def test_a_started_server_needs_an_address(self) -> None:
        self.assertIn("needs an addr", complaints_of("[servers.imap]\n")[0])

    def test_contradictions_are_reported_beside_other_mistakes(self) -> None:
        told = complaints_of('[s3]\nendpoint = "http://store"\n[tls]\ncert_file = "a"\n[auth]\nbcrypt_cost = 1\n')
        self.assertEqual(
            [line.split(": ")[1] for line in told],
            ["s3.bucket", "s3.endpoint", "tls", "auth.bcrypt_cost"],
        )

    def test_a_missing_file_is_a_complaint(self) -> None:
        error = self.assertRaises(ConfigurationInvalid, load, Path("no/such/sora.toml"))
        self.assertIn("no/such/sora.toml: cannot be read", error.complaints[0])

    def test_booleans_are_no_numbers(self) -> None:
        self.assertIn("whole number", complaints_of("[auth]\nbcrypt_cost = true\n")[0])


class WrongTypesTests(unittest.SynchronousTestCase):
    """No value whatsoever is more than a complaint."""

    VALUES = (
        *("true", "-1", "0", "99999999999999999999", "1.5", "nan", "1979-05-27T07:32:00Z", "07:32:00", "[]", "{}"),
        *(
            '""',
            '"x"',
            '"\\u0000"',
            '"9999999999999999999999d"',
            '"99999999999999999999gb"',
            '"~nobody-here/x"',
            '"[::"',
        ),
        *("[1]", "[[]]", '[""]', "[{}]", "{ a = 1 }", '"file:\\u0000"', '"env:"', '"env:A=B"', '":99999"', '"unix:x"'),
    )

    def paths(self, section: type, prefix: str) -> Iterator[str]:
        for name, (description, _) in described(section).items():
            yield f"{prefix}{name}"
            if isinstance(description, Table) and not description.many:
                yield from self.paths(description.section, f"{prefix}{name}.")

    def test_every_setting_takes_or_refuses_every_kind_of_value(self) -> None:
        keys = [
            *self.paths(Configuration, ""),
            *self.paths(Server, "servers.imap."),
            "servers",
            "servers.imap",
            "server",
        ]
        accepted = 0
        for key in keys:
            for value in self.VALUES:
                try:
                    parse(f"{key} = {value}\n", None, {})
                    accepted += 1
                except ConfigurationInvalid as error:
                    self.assertTrue(error.complaints)
        self.assertTrue(0 < accepted < len(keys) * len(self.VALUES) // 2, accepted)


class ValuesTests(unittest.SynchronousTestCase):
    """What a file says arrives."""

    def test_without_a_file_everything_is_embedded(self) -> None:
        configuration = load(None)
        self.assertIs(configuration.database, None)
        self.assertIs(configuration.s3, None)
        self.assertEqual(
            {server.name: (server.type, str(server.address), server.tls) for server in configuration.started()},
            {
                "imap": ("imap", "127.0.0.1:1143", False),
                "imaps": ("imap", "127.0.0.1:1993", True),
                "lmtp": ("lmtp", "127.0.0.1:2003", False),
            },
        )

    def test_durations_sizes_and_types_are_read(self) -> None:
        configuration = parse(
            '[cleanup]\ngrace_period = "14d"\n[limits]\nmessage_max = "25mb"\n'
            '[servers.submission]\ntype = "lmtp"\naddr = "unix:/run/sora/lmtp"\nmax_message_size = "10mb"\n',
            None,
            {},
        )
        server = configuration.servers["submission"]
        self.assertEqual(configuration.cleanup.grace_period, 14 * 86_400.0)
        self.assertEqual(configuration.limits.message_max, 25 * 1_048_576)
        self.assertEqual((server.type, server.address.path), ("lmtp", "/run/sora/lmtp"))
        self.assertEqual(configuration.max_message_size(server), 10 * 1_048_576)

    def test_server_entries_of_an_array_are_servers_too(self) -> None:
        configuration = parse(
            '[[server]]\ntype = "imap"\nname = "a"\naddr = ":143"\n'
            '[[server.client_filters]]\nclient_name = "X"\n'
            '[[server]]\ntype = "lmtp"\nname = "b"\naddr = ":24"\n',
            None,
            {},
        )
        self.assertEqual(sorted(configuration.servers), ["a", "b"])
        self.assertEqual(configuration.servers["a"].client_filters[0].client_name, "X")

    def test_the_write_endpoint_may_have_a_table_of_its_own(self) -> None:
        database = parse(
            '[database]\nquery_timeout = "5s"\n[database.write]\nhosts = ["db1", "db2"]\nuser = "me"\n'
            '[database.read]\nhosts = ["db3"]\n',
            None,
            {},
        ).database
        assert database is not None
        assert database.reading is not None
        self.assertEqual((database.hosts, database.user, database.query_timeout), (("db1", "db2"), "me", 5.0))
        self.assertEqual((database.reading.hosts, database.reading.user), (("db3",), "me"))

    def test_a_remote_database_is_verified_and_a_local_one_need_not_be(self) -> None:
        modes = {}
        for host in ("db.example.org", "127.0.0.1", "/run/postgresql", "::1"):
            database = parse(f'[database]\nhosts = ["{host}"]\n', None, {}).database
            assert database is not None
            modes[host] = database.effective_sslmode
        self.assertEqual(modes.pop("db.example.org"), "verify-full")
        self.assertEqual(set(modes.values()), {"prefer"})

    def test_relative_paths_start_at_the_folder_of_the_file(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "sora.toml").write_text('[embedded]\nstate = "state"\n[local_cache]\npath = "/abs"\n')
        configuration = load(folder / "sora.toml")
        self.assertEqual(configuration.embedded.state, folder.absolute() / "state")
        self.assertEqual(configuration.local_cache.path, Path("/abs"))


class SecretsTests(unittest.SynchronousTestCase):
    """Secrets arrive and are never shown."""

    def test_a_secret_comes_from_the_environment_or_a_file_or_stands_there(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "pw").write_text("from file\n")
        values = []
        for text in ("plain", "env:NAME", "file:pw"):
            database = parse(
                f'[database]\nhosts = ["x"]\npassword = "{text}"\n', folder / "f.toml", {"NAME": "from env"}
            ).database
            assert database is not None
            assert database.password is not None
            values.append(database.password.reveal())
        self.assertEqual(values, ["plain", "from env", "from file"])

    def test_a_missing_file_is_a_clear_complaint(self) -> None:
        (told,) = complaints_of('[database]\nhosts = ["x"]\npassword = "file:/no/such"\n')
        self.assertIn("cannot read the file /no/such: No such file or directory", told)

    def test_no_representation_of_a_configuration_holds_a_secret(self) -> None:
        configuration = parse(
            '[database]\nhosts = ["x"]\npassword = "hunter2"\n'
            '[s3]\nendpoint = "https://s"\nbucket = "b"\naccess_key = "a"\nsecret_key = "hunter2"\n'
            f'[storage.sealing]\nkeys = {{ k = "{"68756e746572320a" * 4}" }}\n'
            '[servers.http_api]\naddr = ":1"\napi_key = "hunter2"\n',
            None,
            {},
        )
        for shown in (
            repr(configuration),
            str(configuration),
            f"{configuration}",
            repr(configuration.storage.sealing.keys),
        ):
            self.assertNotIn("hunter2", shown)
            self.assertNotIn("68756e74", shown)
        self.assertEqual(configuration.storage.sealing.key_ring()["k"], b"hunter2\n" * 4)

    def test_no_complaint_repeats_a_secret(self) -> None:
        told = complaints_of(
            '[database]\nhosts = ["x"]\npassword = ["hunter2"]\n[storage.sealing.keys]\nk = "hunter2"\n'
            '[cluster]\nsecret_key = { value = "hunter2" }\n'
        )
        self.assertEqual(len(told), 3)
        self.assertNotIn("hunter2", "".join(told))

    def test_secrets_compare_by_value_and_are_not_pickled(self) -> None:
        import pickle

        self.assertEqual(Secret("a"), Secret("a"))
        self.assertNotEqual(Secret("a"), Secret("b"))
        self.assertRaises(TypeError, pickle.dumps, Secret("a"))
        self.assertNotIn("hunter2", f"{Secret('hunter2'):>20}%s" % Secret("hunter2"))
