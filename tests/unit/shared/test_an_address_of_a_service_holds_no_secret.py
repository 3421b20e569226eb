"""A web service in settings is asked over https, or on this machine, by an address that holds nothing secret."""

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.service_url import ServiceUrl

ADDRESS = TypeAdapter(ServiceUrl)


@pytest.mark.parametrize(
    "text",
    [
        "https://pacs.example.org",
        "https://pacs.example.org:8042/dicom-web",
        "https://10.0.0.7:65535",
        "https://[2001:db8::1]/a/b",
        "http://localhost:8042",
        "http://127.0.0.1",
        "http://127.9.9.9:1/x",
        "http://[::1]:8042",
    ],
)
def test_what_is_encrypted_or_here_is_kept(text: str) -> None:
    """With its port and path, and without a slash at its end."""
    assert ADDRESS.validate_python(text) == ADDRESS.validate_python(f"{text}/") == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is no URL"),
        ("pacs.example.org", "it is no URL"),
        ("ftp://pacs.example.org", "it is no URL that begins with https://"),
        ("https://", "it is no URL that begins with https://"),
        ("https:///path", "it is no URL that begins with https://"),
        ("https://pacs:0", "it is no URL that begins with https://"),
        ("https://pacs:65536", "it is no URL"),
        ("https://pacs:port", "it is no URL"),
        ("https://[::1", "it is no URL"),
        ("https://pacs/a b", "it is no URL"),
        ("https://pacs/ä", "it is no URL"),
        ("https://pacs/\x7f", "it is no URL"),
        ("http://pacs.example.org", "for a server on this machine only"),
        ("http://10.0.0.7", "for a server on this machine only"),
        ("http://[2001:db8::1]", "for a server on this machine only"),
        ("http://localhost.example.org", "for a server on this machine only"),
        ("https://name:password@pacs", "a name or a password has settings of its own"),
        ("https://name@pacs", "a name or a password has settings of its own"),
        ("https://pacs/?token=1", "a name or a password has settings of its own"),
        ("https://pacs?", "a name or a password has settings of its own"),
        ("https://pacs/#part", "a name or a password has settings of its own"),
    ],
)
def test_anything_else_is_refused_and_not_quoted_by_us(text: str, problem: str) -> None:
    """Each with what is wrong of it."""
    with pytest.raises(ValidationError) as caught:
        ADDRESS.validate_python(text)
    [error] = caught.value.errors()
    assert problem in error["msg"]
    assert "password@" not in error["msg"]
