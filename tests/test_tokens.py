"""Strings of tokens join to the text, whatever the tokenizer does to one that stands alone."""

from lookbehind.tokens import token_string, token_strings
from tests.tokenizers import Bytes


def test_token_strings_join_to_the_text():
    assert token_strings(Bytes(), list(b"def f(x):")) == list("def f(x):")

    class Spaced:
        """Drops the space of the first token, as SentencePiece decoders do."""

        words = ("▁the", "▁cat", "s", "▁sat")

        def decode(self, some, skip_special_tokens):
            return "".join(self.words[one] for one in some).replace("▁", " ").removeprefix(" ")

    assert token_strings(Spaced(), [0, 1, 2, 3]) == ["the", " cat", "s", " sat"]


def test_a_piece_of_a_character_is_shown_as_its_bytes():
    class ByteLevel(Bytes):
        def id_to_token(self, one):
            return {0xC3: "Ã", 0xA9: "©", 0x61: "a"}[one]

    assert token_strings(ByteLevel(), [0x61, 0xC3, 0xA9, 0x61]) == ["a", "<0xC3>", "<0xA9>", "a"]
    assert token_strings(Bytes(), [0x61, 0xC3, 0xA9]) == ["a", "�", "�"]
    assert token_string(ByteLevel(), 0xC3) == "<0xC3>"


def test_a_candidate_s_text_stands_alone():
    class Spaced(Bytes):
        words = ("▁the", "cat")

        def convert_ids_to_tokens(self, one):
            return self.words[one]

        def decode(self, some, skip_special_tokens):
            return "".join(self.words[one] for one in some).replace("▁", " ").removeprefix(" ")

    assert [token_string(Spaced(), one) for one in (0, 1, 7)] == [" the", "cat", "<7>"]
    assert token_string(Bytes(), 999) == "<999>"
