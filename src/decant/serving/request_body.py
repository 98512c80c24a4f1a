"""From the body of a request to inputs and parameters, and back: the formats of MLflow's scoring server.

Works on bytes alone; `server.py` speaks HTTP.
"""

import io
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

from decant.core.errors import UserError, suggestion
from decant.serving.limits import MAX_REPR, BadJson, parse_json, short_repr
from decant.serving.preprocessing import describe
from decant.serving.readers import Lines, csv_rows

MAX_INPUTS = 1024
"""Of a request."""
FORMATS = ("inputs", "dataframe_split", "dataframe_records")
PAIR_COLUMNS = ["text", "text_pair"]
BODY = "the body"


class BadRequest(UserError):
    """A request without an answer: its HTTP `status`, and one sentence."""

    def __init__(self, status: int, problem: str) -> None:
        self.status = status
        super().__init__(problem)


class Request(NamedTuple):
    """What a request asks for."""

    inputs: list[Any]
    top_k: int


def parse_request(content_type: str | None, body: bytes) -> Request:
    """The inputs and parameters of a request.

    Raises:
        BadRequest: 415: another type of content; 400: the body is not of this type; 422: it holds something else.
    """
    parse = parser(content_type)
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(400, f"{BODY} is not UTF-8: byte {error.start} begins no character") from error
    request = parse(text)
    if len(request.inputs) > MAX_INPUTS:
        raise BadRequest(413, f"more than {MAX_INPUTS:,} inputs; send several requests")
    return request


def parser(content_type: str | None) -> Callable[[str], Request]:
    """The function that parses bodies of a type."""
    name, _, options = (content_type or "").partition(";")
    parse = PARSERS.get(name.strip().lower())
    if parse is None:
        found = f"Content-Type is {short_repr(content_type)}" if content_type else "there is no Content-Type"
        raise BadRequest(415, f"{found}, expected {' or '.join(PARSERS)}")
    options = options.replace('"', "").replace(" ", "").lower()
    if options not in ("", "charset=utf-8"):
        raise BadRequest(415, f"Content-Type has the options {short_repr(options)}, expected charset=utf-8 or none")
    return parse


def parse_json_request(text: str) -> Request:
    """A JSON object with one of `FORMATS`, and `params`."""
    try:
        values = parse_json(text)
    except BadJson as error:
        raise BadRequest(400, f"{BODY}: {error}") from error
    if not isinstance(values, dict):
        raise BadRequest(400, f"{BODY} is {describe(values)}, expected an object with {' or '.join(FORMATS)}")
    params = values.pop("params", None)
    if len(values) != 1 or not values.keys() <= set(FORMATS):
        raise BadRequest(400, f"{BODY} is {describe(values)}, expected exactly one of {', '.join(FORMATS)}")
    ((name, content),) = values.items()
    parse = {"inputs": listed_inputs, "dataframe_split": split_inputs, "dataframe_records": record_inputs}[name]
    return Request(parse(content), parse_params(params))


def parse_csv_request(text: str) -> Request:
    """CSV with a header."""
    try:
        rows = list(islice(csv_rows(Lines(io.BytesIO(text.encode()), BODY), ","), MAX_INPUTS + 1))
    except UserError as error:
        raise BadRequest(400, str(error)) from error
    return Request(record_inputs([row.values for row in rows]), 0)


PARSERS: dict[str, Callable[[str], Request]] = {"application/json": parse_json_request, "text/csv": parse_csv_request}
"""By the type of the content."""


def parse_params(params: object) -> int:
    """`top_k`, the only parameter."""
    if not isinstance(params, dict | None):
        raise BadRequest(422, f"params is {describe(params)}, expected an object")
    for name in params or {}:
        if name != "top_k":
            raise BadRequest(
                422, f"there is no parameter {short_repr(name)}{suggestion(name[:MAX_REPR], ['top_k'])}; use top_k"
            )
    top_k = (params or {}).get("top_k")
    if top_k is None:
        return 0
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 0:
        raise BadRequest(422, f"top_k is {describe(top_k)}, expected a whole number of 0 or more")
    return top_k


def listed_inputs(content: object) -> list[Any]:
    """`inputs`: a list; the predictor checks what is in it."""
    if not isinstance(content, list):
        raise BadRequest(422, f"inputs is {describe(content)}, expected a list")
    return content


def split_inputs(content: object) -> list[Any]:
    """`dataframe_split`: names of columns, and a list per row."""
    if not isinstance(content, dict) or not {"columns", "data"} <= content.keys() <= {"columns", "data", "index"}:
        raise BadRequest(422, f"dataframe_split is {describe(content)}, expected an object of columns and data")
    columns, data = content["columns"], content["data"]
    if not isinstance(columns, list) or not all(isinstance(name, str | int) for name in columns):
        raise BadRequest(422, f"columns is {describe(columns)}, expected a list of names")
    if not isinstance(data, list):
        raise BadRequest(422, f"data is {describe(data)}, expected a list of rows")
    for position, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(columns):
            raise BadRequest(422, f"data[{position}] is {describe(row)}, expected a list of {len(columns)}")
    names = [str(name) for name in columns]
    check_names(names)
    return [row[0] for row in data] if len(names) == 1 else [dict(zip(names, row, strict=True)) for row in data]


def record_inputs(content: object) -> list[Any]:
    """`dataframe_records`: an object per row, all with the same keys."""
    if not isinstance(content, list):
        raise BadRequest(422, f"dataframe_records is {describe(content)}, expected a list of objects")
    for position, row in enumerate(content):
        if not isinstance(row, dict) or row.keys() != content[0].keys():
            expected = "an object" if not position else "the columns of the first row"
            raise BadRequest(422, f"row {position} is {describe(row)}, expected {expected}")
    if not content:
        return []
    check_names(list(content[0]))
    return [next(iter(row.values())) for row in content] if len(content[0]) == 1 else content


def check_names(names: list[str]) -> None:
    """Refuse columns that no input is read from: which of them is meant would be a guess."""
    if len(names) != 1 and sorted(names) != PAIR_COLUMNS:
        listed = ", ".join(short_repr(name) for name in names[:10]) + (", ..." if len(names) > 10 else "")
        expected = f"one column, or {' and '.join(PAIR_COLUMNS)} for a pair"
        raise BadRequest(422, f"the columns are {listed or 'none'}, expected {expected}")
