"""What people note of customers and do for them: tags, owners, notes, tasks, rules, segments."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from api.v1 import people_shapes as shapes
from api.v1 import schema
from api.v1.access import Caller
from api.v1.endpoints import Acting, Body, Json, Reading
from api.v1.lists import ListQuery, id_filter, listed
from ledger.aggregates.customer_work import OUTCOMES, CustomerWork, Task
from ledger.customer_work import TAG, work_on
from ledger.decisions import Decisions
from ledger.errors import NotFound
from ledger.policies.desk import Desk
from ledger.projections.crm import queries as lists
from ledger.projections.work.queries import TASKS

_REASON: dict[str, Any] = {"validate": validate.Length(min=1, max=500), "allow_none": True}
_NAME = validate.Regexp(r"[a-z][a-z0-9_-]{0,39}\Z")


class TagBody(Body):
    """A tag, and why."""

    tag = fields.String(required=True, validate=validate.Regexp(TAG.pattern + r"\Z"))
    reason = fields.String(**_REASON)


class OwnerBody(Body):
    """Whose the customer is from now on: a user's id or another name; null for nobody."""

    owner = id_filter(required=True, allow_none=True)
    reason = fields.String(**_REASON)


class NoteBody(Body):
    """What somebody writes; it is encrypted."""

    text = fields.String(required=True, validate=validate.Length(min=1, max=10_000))


class WhyBody(Body):
    """Why."""

    reason = fields.String(**_REASON)


class TaskBody(Body):
    """What somebody is to do; it is encrypted."""

    what = fields.String(required=True, validate=validate.Length(min=1, max=1_000))
    due_on = fields.Date(allow_none=True)
    assignee = id_filter(allow_none=True)


class CloseBody(Body):
    """What came of a task."""

    outcome = fields.String(validate=validate.OneOf(OUTCOMES), load_default="done")
    reason = fields.String(**_REASON)


class TasksQuery(ListQuery):
    """Filters of the list of tasks."""

    customer = id_filter()
    assignee = id_filter()
    open = fields.Boolean()
    due_before = fields.Date()


def show_work(caller: Caller, _: Json, customer_id: str) -> Json:
    """Return whose a customer is, their tags, notes and tasks."""
    if lists.one(caller.connection, lists.CUSTOMERS, customer_id) is None:
        raise NotFound(f"There is no customer {customer_id!r} in this ledger.")
    found = Decisions(caller.connection, caller.ledger.keys).find(
        CustomerWork, CustomerWork.stream_of(customer_id)
    )
    return _work(caller, found, customer_id)


def add_tag(desk: Desk, caller: Caller, given: Json, customer_id: str) -> Json:
    """Give a customer a tag."""
    work = work_on(desk, customer_id)
    work.tag(given["tag"], actor=caller.actor.name, reason=given.get("reason"), now=desk.now)
    return _work(caller, work, customer_id)


def remove_tag(desk: Desk, caller: Caller, given: Json, customer_id: str) -> Json:
    """Take a tag away."""
    work = work_on(desk, customer_id)
    work.untag(given["tag"], actor=caller.actor.name, reason=given.get("reason"), now=desk.now)
    return _work(caller, work, customer_id)


def set_owner(desk: Desk, caller: Caller, given: Json, customer_id: str) -> Json:
    """Let a customer be somebody's, or nobody's."""
    work = work_on(desk, customer_id)
    work.give_to(given["owner"], actor=caller.actor.name, reason=given.get("reason"), now=desk.now)
    return _work(caller, work, customer_id)


def write_note(desk: Desk, caller: Caller, given: Json, customer_id: str) -> Json:
    """Write a note."""
    work = work_on(desk, customer_id)
    work.write(given["text"], actor=caller.actor.name, now=desk.now)
    return _work(caller, work, customer_id)


def remove_note(desk: Desk, caller: Caller, given: Json, customer_id: str, note_id: str) -> Json:
    """Take a note out of sight; the log keeps that it was there."""
    work = work_on(desk, customer_id)
    work.remove(note_id, actor=caller.actor.name, reason=given.get("reason"), now=desk.now)
    return _work(caller, work, customer_id)


def open_task(desk: Desk, caller: Caller, given: Json, customer_id: str) -> Json:
    """Let somebody have something to do."""
    work = work_on(desk, customer_id)
    work.open_task(
        given["what"],
        given.get("due_on"),
        given.get("assignee"),
        actor=caller.actor.name,
        now=desk.now,
    )
    return _work(caller, work, customer_id)


def close_task(desk: Desk, caller: Caller, given: Json, customer_id: str, task_id: str) -> Json:
    """Say what came of a task."""
    work = work_on(desk, customer_id)
    work.close_task(
        task_id,
        given["outcome"],
        actor=caller.actor.name,
        reason=given.get("reason"),
        now=desk.now,
    )
    return _work(caller, work, customer_id)


def list_tasks(caller: Caller, asked: Json) -> Json:
    """Return tasks, newest first."""
    page = lists.page(caller.connection, TASKS, **asked)
    decisions = Decisions(caller.connection, caller.ledger.keys)
    told = []
    for row in page.rows:
        stream = CustomerWork.stream_of(row["customer_id"])
        work = decisions.find(CustomerWork, stream) if caller.sees_personal else None
        task = work.tasks.get(row["task"]) if work is not None else None
        if task is not None and task.what is not None:
            caller.tell([row["customer_id"]])
        told.append(_task_row(row, task.what if task else None))
    return listed(told, has_more=page.has_more)


def _work(caller: Caller, work: CustomerWork | None, customer_id: str) -> Json:
    shows = caller.sees_personal
    notes = list(work.notes.values()) if work else []
    tasks = list(work.tasks.values()) if work else []
    if shows and (notes or tasks):
        caller.tell([customer_id])
    return {
        "object": "customer_work",
        "customer": customer_id,
        "version": work.version if work else 0,
        "owner": work.owner if work else None,
        "tags": sorted(work.tags) if work else [],
        "notes": [
            {
                "id": one.id,
                "created": int(one.written_at.timestamp()),
                "actor": one.actor,
                "text": one.text if shows else None,
            }
            for one in reversed(notes)
        ],
        "tasks": [_task(customer_id, one, shows=shows) for one in reversed(tasks)],
    }


def _task(customer_id: str, task: Task, *, shows: bool) -> Json:
    return _task_row(
        {
            "id": f"{customer_id}|{task.id}",
            "task": task.id,
            "customer_id": customer_id,
            "opened_at": task.opened_at,
            "closed_at": task.closed_at,
            "due_on": task.due_on,
            "actor": task.actor,
            "assignee": task.assignee,
            "outcome": task.outcome,
        },
        task.what if shows else None,
    )


def _task_row(row: dict[str, Any], what: str | None) -> Json:
    return {
        "id": row["id"],
        "object": "task",
        "task": row["task"],
        "created": int(row["opened_at"].timestamp()),
        "customer": row["customer_id"],
        "actor": row["actor"],
        "assignee": row["assignee"],
        "due_on": row["due_on"].isoformat() if row["due_on"] else None,
        "what": what,
        "outcome": row["outcome"],
        "closed_at": int(row["closed_at"].timestamp()) if row["closed_at"] else None,
    }


def _version_of_work(desk: Desk, ids: Json) -> int:
    found = desk.find(CustomerWork, CustomerWork.stream_of(ids["customer_id"]))
    return found.version if found else 0


_OF = "/customers/<customer_id>"
ENDPOINTS = (
    Reading(path=f"{_OF}/work", handle=show_work, answer=shapes.CUSTOMER_WORK),
    *(
        Acting(
            path=f"{_OF}/{path}",
            handle=handle,
            answer=shapes.CUSTOMER_WORK,
            body=body,
            permission="work",
            version=_version_of_work,
        )
        for path, handle, body in (
            ("tags", add_tag, TagBody),
            ("tags/remove", remove_tag, TagBody),
            ("owner", set_owner, OwnerBody),
            ("notes", write_note, NoteBody),
            ("notes/<note_id>/remove", remove_note, WhyBody),
            ("tasks", open_task, TaskBody),
            ("tasks/<task_id>/close", close_task, CloseBody),
        )
    ),
    Reading(
        path="/tasks",
        handle=list_tasks,
        answer=schema.list_of(shapes.TASK),
        query=TasksQuery,
    ),
)
