/** The part of Microsoft's client API that the tab uses, over the Web API of the same origin. */

const API = "/api/data/v9.2/"
/** Set names of the tables a segment form has to do with; others get an s, as most have. */
const SETS = { list: "lists", lead: "leads", contact: "contacts", systemuser: "systemusers" }

/**
 * @param {{id: string, name: string, lcid: number}} me
 * @returns {object} `Xrm`, for one user
 */
export function makeXrm(me) {
  const web = { retrieveRecord, retrieveMultipleRecords, createRecord, updateRecord, deleteRecord }
  const globalContext = {
    getClientUrl: () => location.origin,
    userSettings: { userId: `{${me.id.toUpperCase()}}`, userName: me.name, languageId: me.lcid },
    client: { getClient: () => "Web" },
  }
  return {
    WebApi: { ...web, online: web },
    Utility: { getGlobalContext: () => globalContext },
    App: { sidePanes: makeSidePanes() },
  }
}

async function retrieveRecord(table, id, options = "") {
  return (await ask("GET", `${setOf(table)}(${plain(id)})${options}`)).json()
}

async function retrieveMultipleRecords(table, options = "") {
  const answer = await (await ask("GET", setOf(table) + options)).json()
  return { entities: answer.value, nextLink: answer["@odata.nextLink"] }
}

async function createRecord(table, row) {
  const answer = await ask("POST", setOf(table), row)
  return { entityType: table, id: /\(([^)]*)\)$/.exec(answer.headers.get("OData-EntityId"))?.[1] }
}

async function updateRecord(table, id, row) {
  await ask("PATCH", `${setOf(table)}(${plain(id)})`, row, { "If-Match": "*" })
  return { entityType: table, id }
}

async function deleteRecord(table, id) {
  await ask("DELETE", `${setOf(table)}(${plain(id)})`)
  return { entityType: table, id }
}

async function ask(method, path, body, headers = {}) {
  const answer = await fetch(API + path, {
    method,
    credentials: "same-origin",
    headers: {
      Accept: "application/json",
      "OData-MaxVersion": "4.0",
      "OData-Version": "4.0",
      Prefer: 'odata.include-annotations="*"',
      ...(body && { "Content-Type": "application/json" }),
      ...headers,
    },
    body: body && JSON.stringify(body),
  })
  if (answer.ok) return answer
  const { error } = await answer.json().catch(() => ({ error: { message: answer.statusText } }))
  throw { errorCode: parseInt(error.code, 16) || 0, message: error.message }
}

function setOf(table) {
  return SETS[table] ?? `${table}s`
}

function plain(id) {
  return id.replace(/[{}]/g, "")
}

function makeSidePanes() {
  const panes = new Map()
  return {
    getPane: (id) => panes.get(id),
    async createPane({ title, paneId }) {
      const place = document.getElementById("side-pane")
      const frame = Object.assign(document.createElement("iframe"), { title })
      const head = document.createElement("header")
      const close = Object.assign(document.createElement("button"), { type: "button", className: "command", textContent: "Close" })
      const pane = {
        paneId,
        navigate: async ({ webresourceName, data }) => (frame.src = `/WebResources/${webresourceName}?data=${encodeURIComponent(data)}`),
        close: () => {
          place.replaceChildren()
          place.hidden = true
          panes.delete(paneId)
        },
      }
      close.addEventListener("click", pane.close)
      head.append(title, close)
      place.replaceChildren(head, frame)
      place.hidden = false
      panes.set(paneId, pane)
      return pane
    },
  }
}
