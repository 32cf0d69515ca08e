from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors

import resources.tokenizer as module
from resources.errors import ServerError, ServerUnreachableError, SynthError
from resources.inference import ServedModel
from resources.testing import FakeServer, FakeTokenizer
from resources.tokenizer import ApproximateTokenizer, LocalTokenizer, ServerTokenizer, resolve_tokenizer

TEXTS = ["one two three", "", "two", "one, two!"]


def write_tokenizer(folder):
    """A word tokenizer whose file also asks for a beginning token, truncation and padding."""
    tokenizer = tokenizers.Tokenizer(models.WordLevel({"<s>": 0, "<unk>": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=8)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def no_hub(monkeypatch):
    """The hub must not be asked at all."""

    def asked(name, revision):
        raise AssertionError(f"the hub was asked for {name}")

    monkeypatch.setattr(module, "_hub_file", asked)


def test_a_local_tokenizer_counts_neither_special_tokens_nor_its_files_old_settings(tmp_path):
    write_tokenizer(tmp_path)

    assert LocalTokenizer(tmp_path / "tokenizer.json", "words").count_tokens(TEXTS) == [3, 0, 1, 4]


def test_many_texts_are_counted_in_batches_and_in_order(tmp_path, monkeypatch):
    write_tokenizer(tmp_path)
    monkeypatch.setattr(module, "_BATCH_CHARS", 20)
    texts = ["word " * size for size in range(50)]

    assert LocalTokenizer(tmp_path / "tokenizer.json", "words").count_tokens(texts) == list(range(50))


def test_a_text_is_given_to_the_library_once(tmp_path, monkeypatch):
    write_tokenizer(tmp_path)
    tokenizer = LocalTokenizer(tmp_path / "tokenizer.json", "words")
    assert tokenizer.count_tokens(TEXTS) == [3, 0, 1, 4]
    monkeypatch.setattr(tokenizer, "_tokenizer", None)

    assert tokenizer.count_tokens([*TEXTS, "two"]) == [3, 0, 1, 4, 1]


def test_tokenizers_that_count_alike_have_one_fingerprint_whatever_their_names(tmp_path):
    here, there = write_tokenizer(tmp_path / "here"), write_tokenizer(tmp_path / "there")
    first = LocalTokenizer(here / "tokenizer.json", "first").fingerprint

    assert LocalTokenizer(there / "tokenizer.json", "second").fingerprint == first
    (there / "tokenizer.json").write_text((there / "tokenizer.json").read_text() + "\n")
    assert LocalTokenizer(there / "tokenizer.json", "first").fingerprint != first


def test_a_served_models_fingerprint_tells_what_is_behind_its_name():
    models = [
        ServedModel("name", "1", root="/a"),
        ServedModel("name", "2", root="/a"),
        ServedModel("name", "1", root="/b"),
        ServedModel("other", "1", root="/a"),
    ]
    tokenizers_of_servers = [ServerTokenizer("http://127.0.0.1:9", model) for model in models]

    fingerprints = {tokenizer.fingerprint for tokenizer in [*tokenizers_of_servers, ApproximateTokenizer()]}

    assert len(fingerprints) == len(models) + 1


def test_a_tokenizer_file_that_is_gone_is_an_error_in_words(tmp_path):
    with pytest.raises(SynthError, match=r"tokenizer\.json cannot be read"):
        _ = LocalTokenizer(tmp_path / "tokenizer.json", "gone").fingerprint


def test_the_folder_that_the_server_loaded_from_comes_first(tmp_path, no_hub):
    folder = write_tokenizer(tmp_path / "weights")

    tokenizer = resolve_tokenizer(ServedModel("served-name", root=str(folder)), None, tmp_path / "models")

    assert isinstance(tokenizer, LocalTokenizer)
    assert tokenizer.name == "served-name"


def test_a_prepared_model_is_found_by_its_name(tmp_path, no_hub):
    write_tokenizer(tmp_path / "models" / "Small-1B")

    tokenizer = resolve_tokenizer(ServedModel("maker/Small-1B", root="/elsewhere/x"), None, tmp_path / "models")

    assert isinstance(tokenizer, LocalTokenizer)


def test_a_broken_tokenizer_file_is_named_with_a_remedy(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{half a file")

    with pytest.raises(SynthError, match=r"tokenizer\.json is not a tokenizer file.*remove the file"):
        resolve_tokenizer(ServedModel("broken", root=str(tmp_path)), None, tmp_path).count_tokens(["one"])


def test_a_cached_hub_model_needs_no_network(tmp_path, monkeypatch):
    snapshot = write_tokenizer(tmp_path / "hub" / "models--maker--model" / "snapshots" / ("a" * 40))
    (tmp_path / "hub" / "models--maker--model" / "refs").mkdir()
    (tmp_path / "hub" / "models--maker--model" / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("httpx.head", lambda *_, **__: pytest.fail("the network was asked"))

    assert module._hub_file("maker/model", "") == Path(snapshot) / "tokenizer.json"


def test_an_offline_hub_is_not_asked(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("httpx.head", lambda *_, **__: pytest.fail("the network was asked"))

    assert module._hub_file("maker/model", "") is None


def test_an_unreachable_hub_is_left_after_one_look(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.hf_hub_url", lambda *_, **__: "http://127.0.0.1:9/tokenizer.json")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("a download was begun"))

    assert module._hub_file("maker/model", "") is None


def test_the_server_counts_where_no_file_is_at_hand(tmp_path):
    with FakeServer() as server:
        tokenizer = resolve_tokenizer(ServedModel("fake-model"), server.base_url, tmp_path)

        assert isinstance(tokenizer, ServerTokenizer)
        assert tokenizer.count_tokens(TEXTS) == FakeTokenizer().count_tokens(TEXTS)


def test_the_server_is_asked_once_for_each_text():
    with FakeServer() as server:
        tokenizer = ServerTokenizer(server.base_url, ServedModel("fake-model"))

        assert tokenizer.count_tokens(["a b", "c", "a b"]) == [2, 1, 2]
        assert tokenizer.count_tokens(["c", "d e f"]) == [1, 3]
        assert server.tokenize_count == 3


def test_the_memory_of_counts_is_bounded_and_keeps_what_was_used_last():
    with FakeServer() as server:
        tokenizer = ServerTokenizer(server.base_url, ServedModel("fake-model"), cache_size=2)
        tokenizer.count_tokens(["first"])
        tokenizer.count_tokens(["second"])
        tokenizer.count_tokens(["first"])
        tokenizer.count_tokens(["third"])
        asked = server.tokenize_count

        tokenizer.count_tokens(["first"])
        assert server.tokenize_count == asked
        tokenizer.count_tokens(["second"])
        assert server.tokenize_count == asked + 1


def test_more_texts_than_the_memory_holds_are_counted_all_the_same():
    with FakeServer() as server:
        assert (
            ServerTokenizer(server.base_url, ServedModel("fake-model"), cache_size=2).count_tokens(
                [f"text {place}" for place in range(10)]
            )
            == [2] * 10
        )


def test_a_server_that_goes_away_is_an_error_not_a_wrong_count():
    with FakeServer() as server:
        tokenizer = ServerTokenizer(server.base_url, ServedModel("fake-model"))
        server.die()

        with pytest.raises(ServerUnreachableError, match="cannot be reached to count tokens"):
            tokenizer.count_tokens(["a"])


def test_a_server_without_tokenize_is_an_error():
    with FakeServer() as server, pytest.raises(ServerError, match="status 404"):
        ServerTokenizer(server.base_url.replace("/v1", "/other"), ServedModel("fake-model")).count_tokens(["a"])


@pytest.mark.parametrize("base_url", [None, "http://127.0.0.1:9/v1"])
def test_without_file_hub_and_server_the_count_is_approximate_and_says_so(tmp_path, base_url):
    tokenizer = resolve_tokenizer(ServedModel("nameless"), base_url, tmp_path)

    assert isinstance(tokenizer, ApproximateTokenizer)
    assert "approximate" in tokenizer.name
    assert tokenizer.count_tokens(["", "abcd", "abcde", "日本"]) == [0, 1, 2, 2]
