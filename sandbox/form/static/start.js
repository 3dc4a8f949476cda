/** The start page: segments of every kind, each with the way to its form. */

import { facts, showPeople } from "./people.js"
import { makeXrm } from "./xrm.js"

const FORMATTED = "@OData.Community.Display.V1.FormattedValue"
const TABLES = [
  { table: "msdynmkt_segmentdefinition", id: "msdynmkt_segmentdefinitionid", name: "msdynmkt_name", status: "statuscode", kind: "Real-time segment" },
  { table: "list", id: "listid", name: "listname", status: "statecode", kind: "Marketing list" },
  { table: "msdyncrm_segment", id: "msdyncrm_segmentid", name: "msdyncrm_segmentname", status: "statuscode", kind: "Outbound segment" },
]

showPeople()
show(await Promise.all(TABLES.map(read)))

async function read(kind) {
  const { WebApi } = makeXrm(facts.me)
  const query = `?$select=${kind.name},${kind.status}&$orderby=createdon desc&$top=20`
  const { entities } = await WebApi.retrieveMultipleRecords(kind.table, query).catch(() => ({ entities: [] }))
  return entities.map((row) => ({ ...kind, record: row[kind.id], label: row[kind.name], state: row[kind.status + FORMATTED] ?? "" }))
}

function show(found) {
  const rows = found.flat().map(({ table, record, label, kind, state }) => {
    const anchor = document.createElement("a")
    anchor.href = `/main.aspx?${new URLSearchParams({ pagetype: "entityrecord", etn: table, id: record, tab: "lima_tab" })}`
    anchor.textContent = label
    return line("td", anchor, kind, state)
  })
  const table = document.createElement("table")
  table.append(line("th", "Segment", "Kind", "Status"), ...rows)
  document.getElementById("segments").replaceChildren(rows.length ? table : "There are no segments yet.")
}

function line(tag, ...cells) {
  const row = document.createElement("tr")
  row.append(...cells.map((content) => {
    const cell = document.createElement(tag)
    cell.append(content)
    return cell
  }))
  return row
}
