/** How many members fell where: a bar for the eye, a table with the numbers for everybody. */

import { h } from "../dom.js"

const REASONS = ["eligible", "noEmail", "invalid", "duplicate", "optedOut", "inactive"]

/**
 * @param {import("../speech.js").Speech} speech
 * @param {Record<string, number>} tally
 * @returns {HTMLElement} the chart; reasons that nobody fell under are left out
 */
export function tallyChart(speech, tally) {
  const rows = REASONS.filter((reason) => reason === "eligible" || tally[reason] > 0)
  const whole = tally.members || 1
  const slices = rows.map((reason) => {
    const slice = h(`span.slice.of-${reason}`)
    slice.style.flexGrow = String(tally[reason])
    return slice
  })
  return h(
    "div.tally",
    {},
    h("div.bar", { "aria-hidden": "true" }, slices),
    h(
      "table",
      {},
      h("caption.spoken", {}, speech.say("checked.chart")),
      h(
        "thead.spoken",
        {},
        h("tr", {}, ["reason", "members", "share"].map((column) => h("th", { scope: "col" }, speech.say(`checked.column.${column}`)))),
      ),
      h(
        "tbody",
        {},
        rows.map((reason) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, h(`span.swatch.of-${reason}`, { "aria-hidden": "true" }), speech.say(`checked.${reason}`)),
            h("td.number", {}, speech.number(tally[reason])),
            h("td.number.share", {}, speech.percent((100 * tally[reason]) / whole)),
          ),
        ),
      ),
    ),
  )
}
