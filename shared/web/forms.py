"""The body of a POST as a form. A file is kept in memory, never on a disk: it may hold patients' data."""

from collections.abc import Iterable
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from shared.errors.inputs import InvalidArgument
from shared.web.visit import Form

_MOST_FIELDS = 2000
_URLENCODED, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 40  # the guard bounds a body far below


async def read_form(request: Request) -> Form:
    """A request's fields and file; raises `InvalidArgument` where it is no form, and what the guard's body raises."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == _URLENCODED:
            text = (await request.body()).decode("utf-8")
            return _form(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"), None)
        if kind == _MULTIPART:
            parser = _InMemory(request.headers, request.stream(), max_files=1, max_fields=_MOST_FIELDS)
            parsed = await parser.parse()
            try:
                items = parsed.multi_items()
                file = next((value for _, value in items if isinstance(value, UploadFile)), None)
                data = await file.read() if file else None
                return _form([(name, value) for name, value in items if isinstance(value, str)], data)
            finally:
                await parsed.close()
    except (ValueError, KeyError, MultiPartException) as error:
        raise InvalidArgument(name="The form", problem="a browser sends it otherwise") from error
    raise InvalidArgument(name="The form", problem="a browser sends it otherwise")


def _form(pairs: Iterable[tuple[str, str]], file: bytes | None) -> Form:
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return Form(fields, file)
