/** All audiences made from this segment, newest first. */

import { fill, h } from "../dom.js"
import { shownAudience } from "../view.js"

const COLUMNS = ["name", "status", "sent", "size", "rate", "by", "time"]
const BADGES = { READY: "success", FAILED: "danger", NOT_ALLOWED: "danger", TOO_SMALL: "warning", EXPIRED: "warning" }
const AUTOMATIC = new Set([727000001, 727000002])

/** A table; a name in it shows that audience above. */
export class History {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    this.body = h("tbody", { role: "rowgroup" })
    const { speech } = tab
    const heads = COLUMNS.map((column) => h("th", { role: "columnheader", scope: "col", class: numeric(column) }, speech.say(`history.${column}`)))
    // The roles are said because small pages show the table as cards, which takes a table's meaning away.
    this.table = h("table", { role: "table" }, h("caption.spoken", {}, speech.say("history.heading")), h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), this.body)
    this.element = h("section.card.history", { hidden: true, "aria-labelledby": "history" }, h("h2", { id: "history" }, speech.say("history.heading")), this.table)
  }

  /** Show the audiences as the tab knows them. */
  update() {
    const { known } = this.tab
    const shown = known.problem ? null : shownAudience(known)
    this.element.hidden = Boolean(known.problem) || known.audiences.length === 0
    const key = JSON.stringify([known.audiences, shown?.id])
    if (key === this.shown) return
    this.shown = key
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.audience : null
    fill(this.body, known.audiences.map((audience) => this.row(audience, audience.id === shown?.id)))
    if (focused) this.body.querySelector(`[data-audience="${focused}"]`)?.focus()
  }

  row(audience, isShown) {
    const { speech } = this.tab
    const cells = {
      name: this.name(audience, isShown),
      status: h("fluent-badge", { appearance: "tint", color: BADGES[audience.status] ?? "informative" }, speech.say(`status.${audience.status}`)),
      sent: speech.number(audience.sent),
      size: speech.number(audience.size),
      rate: speech.percent(audience.matchRate),
      by: AUTOMATIC.has(audience.origin) ? `${audience.ownerName} (${speech.say("history.auto")})` : audience.ownerName,
      time: speech.moment(audience.created),
    }
    return h(
      "tr",
      { role: "row", class: isShown ? "is-shown" : null },
      COLUMNS.map((column) => h("td", { role: "cell", class: numeric(column), "data-label": speech.say(`history.${column}`) }, cells[column])),
    )
  }

  name(audience, isShown) {
    const words = audience.name || "–"
    const pick = h("button.link", { type: "button", "data-audience": audience.id, onclick: () => this.tab.pick(audience.id) }, words)
    return h("span", {}, pick, isShown && h("span.note", {}, ` ${this.tab.speech.say("history.shown")}`))
  }
}

function numeric(column) {
  return ["sent", "size", "rate"].includes(column) ? "number" : null
}
