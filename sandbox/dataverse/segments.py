"""Segments and their members, and the service that lets segments go live.

Members of a real-time segment are not rows in Dataverse: they are kept here, by group, and only the actions give them out.
"""

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from sandbox.dataverse import records
from sandbox.dataverse.building import insert
from sandbox.dataverse.privileges import Caller
from sandbox.dataverse.rows import Members
from sandbox.dataverse.seeds import MARKETERS, SYSTEM_USER
from sandbox.dataverse.state import State

LIVE, DRAFT, GOING_LIVE, STOPPED, LIVE_WITH_WARNINGS = 723270000, 723270001, 723270002, 723270006, 723270004
OUTBOUND_LIVE, OUTBOUND_DRAFT, OUTBOUND_GOING_LIVE = 192350001, 192350000, 192350006
MOST_PER_GROUP = 200_000
MOST_MEMO = 1_000_000
LIST_CODES = {"account": 1, "contact": 2, "lead": 4}


class Segments:
    """The store of segment members, and what the service does with segments."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.groups: dict[str, dict[str, Members]] = {}
        """Groups of each real-time segment, by segment id; a dynamic segment has one without a name."""
        self._reserved: dict[str, str] = {}
        """The id that the segment row of a definition has or will have."""
        self._waiting_rows: dict[str, dict[str, Any]] = {}
        """Segment rows of definitions that were never live, by definition."""
        self.waiting: list[tuple[Caller, str, str]] = []
        """Segments that are going live until `settle` is called."""

    def members_of(self, segment_id: str) -> list[str]:
        """Return all members of a real-time segment, each once."""
        groups = list(self.groups[segment_id].values())
        if len(groups) == 1:
            return groups[0].present()
        return list(dict.fromkeys(one for group in groups for one in group.present()))

    def of_definition(self, definition_id: str) -> dict[str, Any] | None:
        """Return the segment row of a definition, or None when it was never live."""
        segment_id = self._reserved.get(definition_id)
        return None if segment_id is None else self._state.find("msdynmkt_segment", segment_id)

    @property
    def service(self) -> Caller:
        """The service's own user, who moves segments from status to status."""
        return Caller(SYSTEM_USER, self._state.root_unit)

    def make_realtime(
        self, name: str, members: Sequence[str], base: str, *, live: bool, static: bool, uid: str = "plain"
    ) -> dict[str, str]:
        """Add a real-time segment and return the ids of its definition, segment and groups."""
        definition_id, segment_id = str(uuid.uuid4()), str(uuid.uuid4())
        blocks = [members[at : at + MOST_PER_GROUP] for at in range(0, len(members), MOST_PER_GROUP)] or [[]]
        groups = {str(uuid.uuid4()): Members(block) for block in blocks} if static else {"": Members(members)}
        self.groups[segment_id] = groups
        self._reserved[definition_id] = segment_id
        row: dict[str, Any] = {
            "msdynmkt_segmentdefinitionid": definition_id,
            "msdynmkt_name": name,
            "statecode": 0,
            "statuscode": LIVE if live else DRAFT,
            "msdynmkt_computationstatus": 723270001 if live else 723270003,
            "msdynmkt_sourcesegmentcreatedon": self._state.now(),
        } | self._owned()
        if static:
            listed = [
                {"groupId": group, "includeType": "Include", "name": f"Group {number}", "inputType": "manualSelect"}
                for number, group in enumerate(groups, start=1)
            ]
            row["msdynmkt_staticlistmembers"] = json.dumps(listed)
        else:
            row["msdynmkt_segmentquery"] = f"PROFILE({base}).FILTER(ISNOTNULL(emailaddress1))"
        insert(self._state, "msdynmkt_segmentdefinition", [row])
        uids = {"plain": definition_id, "upper": definition_id.upper(), "braces": "{" + definition_id.upper() + "}"}
        segment = {
            "msdynmkt_segmentid": segment_id,
            "msdynmkt_sourcesegmentuid": uids[uid],
            "msdynmkt_displayname": name,
            "msdynmkt_type": 10 if static else 11,
            "msdynmkt_source": 12,
            "msdynmkt_baseentitylogicalname": base,
            "msdynmkt_cdmpartitionprimarykeycolumn": base + "id",
            "msdynmkt_membercount": len(members),
            "msdynmkt_scope": 270100000,
            "msdynmkt_lastevaluated": self._state.now(),
        } | self._owned()
        self._waiting_rows[definition_id] = segment
        if live:
            self._add_segment_row(definition_id)
        return {"definition": definition_id, "segment": segment_id} | ({"group": next(iter(groups))} if static else {})

    def _add_segment_row(self, definition_id: str) -> None:
        row = self._waiting_rows.pop(definition_id, None)
        if row is not None:
            insert(self._state, "msdynmkt_segment", [row])

    def _owned(self) -> dict[str, Any]:
        owner = MARKETERS[0]
        return {
            "ownerid": owner,
            "ownerid@target": "systemuser",
            "owninguser": owner,
            "owningbusinessunit": self._state.root_unit,
            "createdby": owner,
            "modifiedby": owner,
        }

    def make_list(self, name: str, members: Sequence[str], base: str, *, live: bool, query: str | None = None) -> dict[str, str]:
        """Add a marketing list, dynamic when it has a query, and return its id."""
        list_id = str(uuid.uuid4())
        row: dict[str, Any] = {
            "listid": list_id,
            "listname": name,
            "type": query is not None,
            "createdfromcode": LIST_CODES[base],
            "membertype": LIST_CODES[base],
            "membercount": 0 if query else len(members),
            "statecode": 0 if live else 1,
            "statuscode": 0 if live else 1,
        } | self._owned()
        if query is not None:
            row["query"] = query
        else:
            self._state.links[f"list{base}_association"].replace(list_id, members)
        insert(self._state, "list", [row])
        return {"list": list_id}

    def make_outbound(self, name: str, members: Sequence[str], *, live: bool, static: bool, prefix: str = "") -> dict[str, str]:
        """Add an outbound segment with its member ids as text, and return its id."""
        text = json.dumps([prefix + one for one in members], separators=(",", ":")) if members else None
        if text is not None and len(text) > MOST_MEMO:
            raise ValueError(f"{len(members)} members do not fit into msdyncrm_segmentmemberids: at most about 25,000 do.")
        row_id = str(uuid.uuid4())
        row: dict[str, Any] = {
            "msdyncrm_segmentid": row_id,
            "msdyncrm_segmentname": name,
            "msdyncrm_segmenttype": 192350001 if static else 192350000,
            "msdyncrm_segmentqueryname": "SEGMENT_CRM_ID_" + row_id.replace("-", ""),
            "msdyncrm_segmentsize": len(members),
            "msdyncrm_islive": live,
            "msdyncrm_segmenttargetprofiletypename": "contact",
            "statecode": 0,
            "statuscode": OUTBOUND_LIVE if live else OUTBOUND_DRAFT,
        } | self._owned()
        if text is not None:
            row["msdyncrm_segmentmemberids"] = text
        insert(self._state, "msdyncrm_segment", [row])
        return {"outbound": row_id}

    def go_live(self, table: str, row_id: str, caller: Caller | None = None) -> None:
        """Move a segment to Going live and, unless settings say later, on to Live, as the service does."""
        definition = self._state.schema.table(table)
        records.position_of(self._state, definition, row_id)
        if table == "list":
            records.update(self._state, self.service, definition, row_id, {"statecode": 0})
            return
        step = {"msdynmkt_segmentdefinition": GOING_LIVE, "msdyncrm_segment": OUTBOUND_GOING_LIVE}[table]
        records.update(self._state, caller or self.service, definition, row_id, {"statuscode": step})
        if self._state.settings.going_live == "at-once":
            self._live(table, row_id)
        else:
            self.waiting.append((self.service, table, row_id))

    def settle(self) -> int:
        """Let every segment that is going live be live, and return how many there were."""
        waiting, self.waiting = self.waiting, []
        for _, table, row_id in waiting:
            self._live(table, row_id)
        return len(waiting)

    def _live(self, table: str, row_id: str) -> None:
        definition = self._state.schema.table(table)
        if table == "msdynmkt_segmentdefinition":
            self._add_segment_row(row_id)
            records.update(self._state, self.service, definition, row_id, {"statuscode": LIVE})
        else:
            records.update(self._state, self.service, definition, row_id, {"statuscode": OUTBOUND_LIVE})

    def change(self, row_id: str, add: Iterable[str], remove: Iterable[str]) -> int:
        """Add and take out members of a list or real-time segment, without any event; return how many there are now."""
        if row_id in self._reserved:
            row_id = self._reserved[row_id]
        if row_id in self.groups:
            return self._change_groups(row_id, add, remove)
        row = self._state.find("list", row_id)
        if row is None:
            raise ValueError(f"There is no list and no real-time segment {row_id}.")
        base = {code: table for table, code in LIST_CODES.items()}[row["createdfromcode"]]
        links = self._state.links[f"list{base}_association"]
        for one in add:
            links.add(row_id, one)
        for one in remove:
            links.remove(row_id, one)
        return len(links.rights_of(row_id))

    def _change_groups(self, segment_id: str, add: Iterable[str], remove: Iterable[str]) -> int:
        groups = list(self.groups[segment_id].values())
        for one in add:
            groups[-1].add(one)
        for one in remove:
            for group in groups:
                group.remove(one)
        return len(self.members_of(segment_id))
