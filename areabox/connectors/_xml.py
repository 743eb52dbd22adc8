"""Reading the XML that a service answers with: small, and without anything that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from areabox.sdk import Transient

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def parse(content: bytes, *, root: str) -> Element:
    """Return the root of a document, whose name without its namespace must be `root`; raises `Transient` otherwise."""
    from xml.etree import ElementTree as ET

    if b"<!doctype" in content.replace(b"\0", b"").lower():  # UTF-16, too
        raise Transient("the answer declares a document type, which is not read")
    try:
        found = ET.fromstring(content)  # noqa: S314 -- without a document type nothing can grow
    except ET.ParseError as error:
        raise Transient(f"the answer is no XML: {error}") from error
    if local(found) != root:
        raise Transient(f"the answer is {local(found)}, not {root}")
    return found


def local(element: Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def every(element: Element, name: str) -> list[Element]:
    """Return the elements of a name, however deep, whatever their namespace."""
    return element.findall(f".//{{*}}{name}")


def text(element: Element, name: str) -> str:
    """Return the text of the first element of a name, however deep; empty where there is none."""
    return (element.findtext(f".//{{*}}{name}") or "").strip()
