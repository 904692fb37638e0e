"""Secrets: every form finds its own tokens, placeholders and decoys stay, hostile texts cost linear time."""

import base64
import random
import re
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trustplane.errors import InputError
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.secrets import RULES
from trustplane.guard.text.secrets.forms import Form, github_check
from trustplane.guard.text.secrets.jwt import is_jose_header
from trustplane.guard.text.secrets.placeholders import entropy, is_placeholder
from trustplane.guard.text.secrets.providers import PROVIDERS

re2 = pytest.importorskip("re2")
GATES = [(rule, [re2.compile(gate) for gate in rule.gate]) for rule in RULES]


def find(text: str) -> list[Hit]:
    """Run each rule whose gate matches, as the guard does."""
    return [h for rule, gates in GATES if any(g.search(text) for g in gates) for h in rule.search(text)]


def found(text: str, entity: str) -> set[str]:
    return {text[h.start : h.end] for h in find(text) if h.entity == entity}


def test_table() -> None:
    assert len({token.id for token in PROVIDERS}) == len(PROVIDERS)
    assert len({token.provider for token in PROVIDERS}) >= 90
    assert all(token.source.startswith("https://") for token in PROVIDERS)
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert {e for rule in RULES for e in rule.entities} == {
        "API_KEY", "PRIVATE_KEY", "CONNECTION_STRING", "JWT", "PASSWORD", "SECRET",
    }  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_examples_pass_gate_and_search(rule) -> None:
    assert rule.kind == "secret" and rule.gate and rule.source and rule.examples
    for example in rule.examples:
        assert any(re2.search(gate, example) for gate in rule.gate)
        hits = list(rule.search(example))
        assert hits and all(0 <= h.start < h.end <= len(example) and h.entity in rule.entities for h in hits)


@pytest.mark.parametrize("token", PROVIDERS, ids=lambda token: token.id)
def test_generated_tokens_are_found_anywhere(token) -> None:
    rng = random.Random(token.id + "test")
    for frame in ("export {k}={v}\n", '{{"{k}": "{v}"}}', "see {k}: {v}, thanks", "令牌{k}：{v}。"):
        value = token.example(rng)
        text = frame.format(k=token.key() or "value", v=value)
        start = text.index(value)
        assert any(h.start <= start and h.end >= start + len(value) for h in find(text)), frame


@given(st.sampled_from(PROVIDERS), st.integers())
@settings(max_examples=150, deadline=None)
def test_a_gate_never_hides_a_token(token, seed) -> None:
    rule = next(rule for rule in RULES if rule.id == f"own/secret/{token.id}")
    value = token.example(random.Random(seed))
    text = f"{token.key()}: {value}" if token.context else value
    assert re.search(token.form, value)
    if list(rule.search(text)):
        assert any(re2.search(gate, text) for gate in rule.gate)


def test_github_check_digits_change_the_score() -> None:
    body = "0123456789abcdefghijABCDEFGHIJ"
    good = "ghp_" + body + github_check(body)
    bad = good[:-1] + ("a" if good[-1] != "a" else "b")
    assert max(h.score for h in find(good)) == 1.0
    assert max(h.score for h in find(bad)) < 0.7


@pytest.mark.parametrize(
    ("text", "entity", "value"),
    [
        ("password: hunter2", "PASSWORD", "hunter2"),
        ("my password is Tr0ub4dor&3.", "PASSWORD", "Tr0ub4dor&3"),
        ('"password": "correcthorse"', "PASSWORD", "correcthorse"),
        ('{\\"password\\":\\"Zx9kk123\\"}', "PASSWORD", "Zx9kk123"),
        ("--password Zx9kk123", "PASSWORD", "Zx9kk123"),
        ("<password>Zx9kk123</password>", "PASSWORD", "Zx9kk123"),
        ("密码是abc12345", "PASSWORD", "abc12345"),
        ("数据库口令:Qwe@1234", "PASSWORD", "Qwe@1234"),
        ("ALTER USER x IDENTIFIED BY 'Zx9!kk'", "PASSWORD", "Zx9!kk"),
        ("machine h.example login joe password s3cRet9", "PASSWORD", "s3cRet9"),
        ("mysql -u root -pS3cr7tPw db", "PASSWORD", "S3cr7tPw"),
        ("Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "PASSWORD", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("export SECRET_KEY=8f14e45fceea167a5a36dedd4bea2543", "SECRET", "8f14e45fceea167a5a36dedd4bea2543"),
        ("client_secret=aB3dE5fG7hJ9kL1mN2pQ&grant_type=x", "SECRET", "aB3dE5fG7hJ9kL1mN2pQ"),
        ("密钥为9f8e7d6c5b4a39281706", "SECRET", "9f8e7d6c5b4a39281706"),
        ("redis://:p4ss99word@cache:6379/0", "CONNECTION_STRING", "redis://:p4ss99word@cache:6379/0"),
        ("postgres://u:p/w@d@host/db", "CONNECTION_STRING", "postgres://u:p/w@d@host/db"),
        ("Server=x;Database=y;Uid=z;Pwd=Kk88!x;", "CONNECTION_STRING", "Server=x;Database=y;Uid=z;Pwd=Kk88!x"),
        ("Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==.", "PASSWORD", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ("Authorization: Bearer mF_9.B5f-4.1JqM7xK2.", "SECRET", "mF_9.B5f-4.1JqM7xK2"),
        ("API_TOKEN=9f8e7d6c5b4a39281706😀", "SECRET", "9f8e7d6c5b4a39281706"),
        ("他的export API_TOKEN=9f8e7d6c5b4a39281706是的", "SECRET", "9f8e7d6c5b4a39281706"),
        ("密码是abc12345😀", "PASSWORD", "abc12345"),
        ("password=Bär12345ü", "PASSWORD", "Bär12345ü"),
        ("用curl -u admin:hunter22x https://example.org", "PASSWORD", "hunter22x"),
        ("在machine h.example login joe password s3cRet9", "PASSWORD", "s3cRet9"),
    ],
)
def test_values_behind_their_keys(text: str, entity: str, value: str) -> None:
    assert value in found(text, entity)


@pytest.mark.parametrize(
    "text",
    [
        "password: required",
        "password is incorrect",
        "password=${DB_PASSWORD}",
        "password = os.environ['PW']",
        "password=<your-password>",
        '"password": "changeme"',
        'api_key = "YOUR_API_KEY"',
        "token = get_token(user)",
        "api_key: sk-xxxxxxxxxxxxxxxxxxxxxxxx",
        "tokenizer: bert-base-uncased-v2",
        "max_tokens=4096, token_count: 128000",
        "postgres://user:password@localhost/db",
        "postgres://${USER}:${PASS}@host/db",
        "http://localhost:8080/path@v2",
        "git@github.com:user/repo.git",
        "密码错误，请重试",
        "密码：******",
        "密码是必填项",
        "token: ${{ secrets.GITHUB_TOKEN }}",
        "const password = req.body.password",
        "the password was changed yesterday",
        "password_hash = hash_password(pw)",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "--password-file /run/secrets/db",
        "AuthToken: Optional[str] = None",
        "task-force-management-system",
        "key-value store",
        "Bearer authentication is used",
        "the token bucket algorithm",
        "eyJub3QiOiJqb3NlIn0.eyJhIjoxfQ.c2ln",
    ],
)
def test_placeholders_and_prose_stay(text: str) -> None:
    assert find(text) == []


def test_random_looking_decoys_stay() -> None:
    rng = random.Random(3)
    decoys = [str(uuid.UUID(int=rng.getrandbits(128))) for _ in range(100)]
    decoys += [rng.randbytes(n).hex() for n in (16, 20, 32) for _ in range(60)]
    decoys += ['"integrity": "sha512-' + base64.b64encode(rng.randbytes(64)).decode() + '"' for _ in range(60)]
    decoys += ["data:image/png;base64," + base64.b64encode(rng.randbytes(2000)).decode() for _ in range(20)]
    assert sum(bool(find(text)) for text in decoys) <= 1


@pytest.mark.parametrize("frame", ["_{}_", "__{}__", "+{}", "/{}/", "+{}\n", "s3/{}/x", "-{}", "是{}是"])
def test_marks_around_a_token_do_not_hide_it(frame: str) -> None:
    token = next(token for token in PROVIDERS if token.id == "aws_access_key_id")
    value = token.example(random.Random(frame))
    assert found(frame.format(value), "API_KEY") == {value}
    for sign in "+/":
        assert found("Qk9L" * 8 + sign + value + sign + "Qk9L" * 8, "API_KEY") == set()


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "PGP "])
def test_private_keys_whole_and_cut(kind: str) -> None:
    tail = " BLOCK" if kind == "PGP " else ""
    body = "\n".join("QUJD" * 16 for _ in range(4))
    key = f"-----BEGIN {kind}PRIVATE KEY{tail}-----\n{body}\n-----END {kind}PRIVATE KEY{tail}-----"
    assert found(f"a\n{key}\nb", "PRIVATE_KEY") == {key}
    headless = key[key.index("\n") + 1 :]
    assert found(f"a: b\n{headless}\nc", "PRIVATE_KEY") == {headless}
    assert found(key[: len(key) // 2], "PRIVATE_KEY") == {key[: len(key) // 2]}
    cut = key[: len(key) // 2] + "\n\x00\nnext"
    assert found(cut, "PRIVATE_KEY") == {cut[: cut.index("\x00")]}


def test_putty_and_web_keys() -> None:
    putty = "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 1\nAAAA\nPrivate-MAC: " + "ab" * 32
    assert found(f"x\n{putty}\ny", "PRIVATE_KEY") == {putty}
    secret = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
    assert found(f'{{"kty":"OKP","d":"{secret}"}}', "PRIVATE_KEY") == {secret}
    assert found(f'{{"d":"{secret}"}}', "PRIVATE_KEY") == set()


def test_jose_header() -> None:
    assert is_jose_header("eyJhbGciOiJIUzI1NiJ9")
    assert not is_jose_header("eyJub3QiOiJqb3NlIn0")
    assert not is_jose_header("eyJ")


@given(st.text(alphabet="ab01xyzABZ=:/@-_.\"'{}[]$%<> \n\\密码是passwordtokenhttps", max_size=120))
@settings(max_examples=150, deadline=None)
def test_places_lie_in_the_text_and_repeat(text: str) -> None:
    hits = find(text)
    assert hits == find(text)
    assert all(0 <= h.start < h.end <= len(text) and 0 < h.score <= 1 for h in hits)


ATOMS = (
    "sk-", "ghp_", "password=", 'password="\\', "token: ", "://", "postgres://a:", "-----BEGIN PRIVATE KEY-----", "@",
    "AAAA", "-----END PRIVATE KEY-----\n", "eyJhbGciOi.", "eyJ.", "Server=a;", "curl -u ", "identified by '", "0",
    '"kty":"RSA"', "AccountKey=", "xoxb-", "aliyunsecret",
)  # fmt: skip


@pytest.mark.parametrize("atom", ATOMS)
def test_hostile_text_costs_linear_time(atom: str) -> None:
    def cost(size: int) -> float:
        text = (atom * (size // len(atom) + 1))[:size]
        best = []
        for _ in range(2):
            began = time.process_time()
            find(text)
            best.append(time.process_time() - began)
        return min(best)

    small = cost(5_000)
    assert cost(20_000) < 12 * max(small, 0.01)


def test_forms_refuse_what_they_do_not_know() -> None:
    for bad in ("a+", "a*", "(a)", "[^a]", "(?:a", "a)", "[a"):
        with pytest.raises(InputError):
            Form(bad)


@given(st.integers())
def test_a_sample_has_its_form(seed: int) -> None:
    form = Form("x(?:a|bc)?[0-9a-f]{2,4}\\.[A-Z]{3}-?")
    value = form.sample(random.Random(seed))
    assert re.fullmatch(form.text, value) and re2.search(form.gate, value)
    assert form.prefix == "x"


def test_entropy_and_placeholders() -> None:
    assert entropy("") == 0 and entropy("aaaa") == 0 and entropy("abcd") == 2
    assert is_placeholder("") and is_placeholder("changeme") and not is_placeholder("x9!Kq" * 30)


def test_kingfisher_gives_code_point_offsets() -> None:
    pytest.importorskip("kingfisher_sdk", reason="the extra trustplane[secrets] is not installed")
    from trustplane.guard.text.secrets.kingfisher import KingfisherFinder

    finder = KingfisherFinder()
    key = next(token for token in PROVIDERS if token.id == "github_pat").example(random.Random(1))
    text = f"é中😀\ud800 id {key}\n"
    hits = finder.find(text)
    assert [text[h.start : h.end] for h in hits] == [key]
    assert hits[0].entity == "API_KEY" and hits[0].rule.startswith("kingfisher/")
    assert key not in repr(finder) and finder.find("nothing here") == [] and finder.version
