/** The form of one record: its head, its tabs, the web resource with what Dynamics passes to it, and the OnLoad event. */

import { facts, showPeople } from "./people.js"
import { makeXrm } from "./xrm.js"

const FORMATTED = "@OData.Community.Display.V1.FormattedValue"
const NAMES = { msdynmkt_segmentdefinition: "msdynmkt_name", msdynmkt_segment: "msdynmkt_displayname", list: "listname", msdyncrm_segment: "msdyncrm_segmentname" }
const KINDS = { msdynmkt_segmentdefinition: "Segment Definition", msdynmkt_segment: "Segment", list: "Marketing list", msdyncrm_segment: "Segment (outbound)" }
const CONTROL = "WebResource_lima"
const RESULTS = ["status", "message", "sent", "size", "matchrate", "time"]

const given = new URLSearchParams(location.search)
const table = given.get("etn") ?? ""
const id = (given.get("id") ?? "").replace(/[{}]/g, "").toLowerCase()

window.Xrm = makeXrm(facts.me)
showPeople()

const frameLoaded = Promise.withResolvers()
const tabs = new Map([
  ["general", { label: "General", panel: plainPanel() }],
  ["members", { label: "Members", panel: plainPanel() }],
  ["lima_tab", { label: "LinkedIn Matched Audience", panel: panel() }],
])
for (const [name, tab] of tabs) addTab(name, tab)
open(tabs.has(given.get("tab")) ? given.get("tab") : "general")

const record = await read()
describe(record)
const formContext = makeFormContext(record)
globalThis.lima?.form?.onLoad({ getFormContext: () => formContext })
document.getElementById("refresh").addEventListener("click", () => location.reload())
document.getElementById("pane").addEventListener("click", () => globalThis.lima.form.openPane(formContext))

async function read() {
  if (!id) return {}
  return Xrm.WebApi.retrieveRecord(table, id).catch(({ message }) => ({ message }))
}

function describe(row) {
  const name = row[NAMES[table]] ?? row.message ?? "New segment"
  document.title = `${name} - Sandbox`
  document.getElementById("name").textContent = name
  document.getElementById("kind").textContent = KINDS[table] ?? table
  const status = row[`statuscode${FORMATTED}`] ?? "Not saved"
  document.getElementById("head-facts").append(fact("Status", status), fact("Owner", row[`_ownerid_value${FORMATTED}`] ?? "–"))
  const results = RESULTS.map((part) => `lima_linkedin${part}`).filter((column) => row[column] !== undefined && row[column] !== null)
  const list = document.createElement("dl")
  list.append(...pair("Name", name), ...pair("Status", status), ...results.flatMap((column) => pair(column, row[column + FORMATTED] ?? String(row[column]))))
  tabs.get("general").panel.append(list)
  tabs.get("members").panel.append("Members are shown by Customer Insights - Journeys; this page does not imitate that.")
}

function pair(name, value) {
  return [Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value })]
}

function fact(name, value) {
  const place = document.createElement("div")
  place.append(...pair(name, value))
  return place
}

function panel() {
  return Object.assign(document.createElement("div"), { className: "panel", hidden: true })
}

function plainPanel() {
  const made = panel()
  made.classList.add("plain")
  return made
}

function addTab(name, tab) {
  tab.listeners = []
  tab.button = Object.assign(document.createElement("button"), { type: "button", textContent: tab.label, id: `tab-${name}` })
  tab.button.setAttribute("role", "tab")
  tab.button.addEventListener("click", () => open(name))
  tab.panel.setAttribute("role", "tabpanel")
  tab.panel.setAttribute("aria-labelledby", tab.button.id)
  document.getElementById("tabs").append(tab.button)
  document.getElementById("panels").append(tab.panel)
}

function open(name) {
  for (const [other, tab] of tabs) {
    tab.panel.hidden = other !== name
    tab.button.setAttribute("aria-selected", String(other === name))
  }
  const tab = tabs.get(name)
  if (name === "lima_tab" && !tab.panel.firstChild) tab.panel.append(frame())
  tab.listeners.forEach((listener) => listener())
}

// As Dynamics does it: the frame of a closed tab does not exist, and parameters are passed in its address.
function frame() {
  const passed = {
    data: "", id: id && `{${id.toUpperCase()}}`, orglcid: 1033, orgname: "contoso", type: 10000, typename: table, userlcid: facts.me.lcid,
  }
  const made = Object.assign(document.createElement("iframe"), { id: CONTROL, title: "LinkedIn Matched Audience" })
  made.src = `/WebResources/lima_/tab.html?${new URLSearchParams(passed)}`
  made.addEventListener("load", () => frameLoaded.resolve(made.contentWindow))
  return made
}

function makeFormContext(row) {
  const controls = { [CONTROL]: { getName: () => CONTROL, getContentWindow: () => frameLoaded.promise } }
  return {
    data: {
      entity: { getId: () => (id ? `{${id.toUpperCase()}}` : ""), getEntityName: () => table, getPrimaryAttributeValue: () => row[NAMES[table]] ?? "" },
    },
    getControl: (name) => controls[name] ?? null,
    ui: {
      tabs: {
        forEach: (act) => tabs.forEach((tab, name) => act(tabContext(name, tab))),
        get: (name) => tabs.has(name) && tabContext(name, tabs.get(name)),
      },
    },
  }
}

function tabContext(name, tab) {
  return {
    getName: () => name,
    getDisplayState: () => (tab.panel.hidden ? "collapsed" : "expanded"),
    addTabStateChange: (listener) => tab.listeners.push(listener),
  }
}
