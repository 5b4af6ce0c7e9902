"""`/v1/seals`: the chain of hashes over the log; each block can be compared with what it sealed."""

from __future__ import annotations

from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from api.v1.lists import POSITION_MAX, PositionsQuery, listed
from ledger.errors import NotFound
from ledger.log.seals import Block, blocks, verify_block


def list_seals(caller: Caller, asked: Json) -> Json:
    """Return the blocks of the log, the last one first; `starting_after` is a block's number."""
    found = blocks(caller.connection, limit=asked["limit"] + 1, before=asked.get("starting_after"))
    return listed(map(_seal, found[: asked["limit"]]), has_more=len(found) > asked["limit"])


def show_seal(caller: Caller, _: Json, block: int) -> Json:
    """Return a block, compared now with the events it sealed and with the block before it."""
    found = verify_block(caller.connection, block) if block <= POSITION_MAX else None
    if found is None:
        raise NotFound(f"There is no block {block}.")
    one, findings = found
    return {
        **_seal(one),
        "clean": not findings,
        "findings": [
            {"kind": each.kind, "position": each.position, "detail": each.detail}
            for each in findings
        ],
    }


def _seal(one: Block) -> Json:
    return {
        "object": "seal",
        "block": one.block,
        "first_position": one.first,
        "last_position": one.last,
        "hash": one.hash.hex(),
    }


ENDPOINTS = (
    Reading(
        path="/seals",
        handle=list_seals,
        answer=schema.list_of(shapes.SEAL),
        query=PositionsQuery,
        permission="audit",
    ),
    Reading(
        path="/seals/<int:block>",
        handle=show_seal,
        answer=shapes.SEAL_COMPARED,
        permission="audit",
    ),
)
