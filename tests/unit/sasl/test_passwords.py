"""Password hashes of every scheme verify what they were made of, and nothing else."""

import base64
import hashlib

import bcrypt
from twisted.trial import unittest

from sora.core.limits import PASSWORD_MAX
from sora.sasl import passwords, sha512_crypt

COST = 4
PASSWORD = b"correct horse"

# Made by the system's crypt(3) (libxcrypt).
CRYPT_3 = (
    (
        b"Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    (
        b"p\xc3\xa4ss" * 40,
        "$6$rounds=1000$abcdefgh$gl5CjSS810stpWcG0wrTWfYRN3Vk514ynSYFJIT9CH/bobCapxm23WPa8DdiIpxBiTK5yjMY3maOFYMiAXD1e.",
    ),
)


def ssha512(password: bytes, salt: bytes = b"saltsalt") -> bytes:
    return hashlib.sha512(password + salt).digest() + salt


def known_hashes() -> dict[str, str]:
    raw = ssha512(PASSWORD)
    crypt = bcrypt.hashpw(PASSWORD, bcrypt.gensalt(COST)).decode()
    derived = hashlib.pbkdf2_hmac("sha1", PASSWORD, b"2QM6vXu6QIWS", 1_000).hex()
    adapted = base64.b64encode(hashlib.pbkdf2_hmac("sha256", PASSWORD, b"0123456789", 1_000)).decode()
    salt = base64.b64encode(b"0123456789").decode().rstrip("=").replace("+", ".")
    digest = sha512_crypt.digest(PASSWORD, b"pepper", 1_000)
    return {
        "BLF-CRYPT": "{BLF-CRYPT}" + crypt,
        "lower case": "{blf-crypt}" + crypt,
        "CRYPT": "{CRYPT}" + crypt,
        "2a": crypt.replace("$2b$", "$2a$"),
        "2y": "{BLF-CRYPT}" + crypt.replace("$2b$", "$2y$"),
        "SSHA512": "{SSHA512}" + base64.b64encode(raw).decode(),
        "SSHA512.B64": "{SSHA512.b64}" + base64.b64encode(raw).decode(),
        "SSHA512.HEX": "{SSHA512.HEX}" + raw.hex(),
        "SHA512-CRYPT": "{SHA512-CRYPT}$6$rounds=1000$pepper$" + digest,
        "bare $6$": "$6$rounds=1000$pepper$" + digest,
        "PBKDF2": f"{{PBKDF2}}$1$2QM6vXu6QIWS$1000${derived}",
        "pbkdf2-sha256": f"$pbkdf2-sha256$1000${salt}${adapted.rstrip('=').replace('+', '.')}",
        "ARGON2ID": "{ARGON2ID}" + argon2(PASSWORD),
        "bare argon2": argon2(PASSWORD),
    }


def argon2(password: bytes) -> str:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


class VerifyTests(unittest.SynchronousTestCase):
    """`verify`."""

    def test_every_scheme_knows_its_password_and_no_other(self) -> None:
        for name, hash in known_hashes().items():
            self.assertIs(passwords.complaint(hash), None, name)
            self.assertTrue(passwords.verify(PASSWORD, hash), name)
            for wrong in (b"", b"correct hors", b"correct horse ", b"Correct horse", b"correct horse\0"):
                self.assertFalse(passwords.verify(wrong, hash), name)

    def test_sha512_crypt_agrees_with_the_systems(self) -> None:
        for password, hash in CRYPT_3:
            self.assertTrue(passwords.verify(password, hash))
            self.assertFalse(passwords.verify(password + b"x", hash))

    def test_bcrypt_reads_72_octets_as_everyone_does(self) -> None:
        hash = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(COST)).decode()
        self.assertTrue(passwords.verify(b"x" * 72 + b"more", hash))
        self.assertFalse(passwords.verify(b"x" * 71, hash))

    def test_malformed_hashes_fit_nothing_and_say_why(self) -> None:
        good = known_hashes()
        malformed = [
            "",
            "plain",
            "{PLAIN}correct horse",
            "{UNKNOWN}x",
            "{",
            "{CRYPT}{CRYPT}{CRYPT}",
            "{BLF-CRYPT}",
            "{BLF-CRYPT}$2b$04$short",
            "$2b$31$" + "." * 53,
            "$2b$99$" + "." * 53,
            "$2x$04$" + "." * 53,
            "{SSHA512}not base64!",
            "{SSHA512}ünïcode",
            "{SSHA512}" + base64.b64encode(b"x" * 64).decode(),
            "{SSHA512.HEX}zz",
            "$6$rounds=999999999$salt$" + "." * 86,
            "$6$salt$tooshort",
            "$6$",
            "{PBKDF2}$1$salt$99999999$" + "0" * 40,
            "{PBKDF2}$2$salt$1000$" + "0" * 40,
            "$pbkdf2-md5$1$a$b",
            "{ARGON2ID}$argon2id$v=19$m=8",
            "$argon2id$v=19$m=4194304,t=1,p=1$" + "A" * 22 + "$" + "A" * 43,
            "\0",
            "\ud800",
            good["SSHA512"][:-20],
        ]
        for hash in malformed:
            self.assertFalse(passwords.verify(PASSWORD, hash), hash)
            self.assertIsNot(passwords.complaint(hash), None, hash)

    def test_no_complaint_repeats_the_hash(self) -> None:
        for hash in ("{SSHA512}abcdefgh!", "{PLAIN}abcdefgh", "$6$abcdefgh"):
            self.assertNotIn("abcdefgh", passwords.complaint(hash) or "")

    def test_over_long_passwords_are_never_hashed(self) -> None:
        password = b"x" * (PASSWORD_MAX + 1)
        hash = "{SSHA512}" + base64.b64encode(ssha512(password)).decode()
        self.assertFalse(passwords.verify(password, hash))


class NewHashTests(unittest.SynchronousTestCase):
    """`hash_password` and `needs_rehash`."""

    def test_a_new_hash_verifies_and_differs_each_time(self) -> None:
        first, second = passwords.hash_password("pässword", cost=COST), passwords.hash_password("pässword", cost=COST)
        self.assertNotEqual(first, second)
        self.assertTrue(first.startswith("{BLF-CRYPT}$2b$04$"))
        self.assertTrue(passwords.verify("pässword".encode(), first))

    def test_what_bcrypt_would_cut_off_is_refused(self) -> None:
        for password in ("", "x" * 73, "a\0b"):
            self.assertRaises(ValueError, passwords.hash_password, password, cost=COST)

    def test_weak_hashes_need_a_new_one(self) -> None:
        needs = {name: passwords.needs_rehash(hash, COST) for name, hash in known_hashes().items()}
        strong = {"BLF-CRYPT", "lower case", "CRYPT", "2a", "2y", "ARGON2ID", "bare argon2"}
        self.assertEqual({name for name, needed in needs.items() if not needed}, strong)
        self.assertTrue(passwords.needs_rehash(known_hashes()["2a"], COST + 1))


class EvenTests(unittest.SynchronousTestCase):
    """A1: a failure costs the same work whatever the account has."""

    def test_a1_every_failure_does_the_work_of_one_bcrypt_of_the_configured_cost(self) -> None:
        work: list[int] = []

        def counting_check(password: bytes, hash: bytes) -> bool:
            work.append(2 ** int(hash.split(b"$")[2]))
            return False

        def counting_hash(password: bytes, salt: bytes) -> bytes:
            work.append(2 ** int(salt.split(b"$")[2]))
            return b""

        self.patch(passwords.bcrypt, "checkpw", counting_check)
        self.patch(passwords.bcrypt, "hashpw", counting_hash)
        known = {
            "nobody": (),
            "as configured": ("$2b$12$" + "." * 53,),
            "cheaper": ("$2b$08$" + "." * 53,),
            "another scheme": ("{SSHA512}" + base64.b64encode(ssha512(b"x")).decode(),),
            "malformed": ("{UNKNOWN}",),
        }
        done = {}
        for name, hashes in known.items():
            work.clear()
            self.assertIs(passwords.verify_evenly(b"wrong", hashes, 12), None)
            done[name] = sum(work)
        self.assertEqual(done, dict.fromkeys(known, 2**12))

    def test_the_fitting_one_of_several_is_named(self) -> None:
        hashes = (passwords.hash_password("one", cost=COST), passwords.hash_password("two", cost=COST))
        self.assertEqual(passwords.verify_evenly(b"two", hashes, COST), 1)
        self.assertIs(passwords.verify_evenly(b"three", hashes, COST), None)

    def test_a_dummy_takes_any_password(self) -> None:
        for password in (b"", b"\0", b"x" * 500):
            passwords.dummy_verify(password, COST)
