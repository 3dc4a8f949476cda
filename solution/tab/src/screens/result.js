/** What came of an audience, now and later in its life at LinkedIn. */

import { fill, h, icon, safeAddress, setText } from "../dom.js"
import { button, setBusy } from "../parts/controls.js"
import { notice } from "../parts/notice.js"
import { tallyChart } from "../parts/tally.js"
import { SMALLEST_SERVED } from "../rows.js"

const NAMES = { BUILDING: "building", READY: "ready", ARCHIVED: "archived", EXPIRED: "expired", FAILED: "failed", TOO_SMALL: "tooSmall", CANCELLED: "cancelled" }
const INTENTS = { BUILDING: "info", READY: "success", ARCHIVED: "info", EXPIRED: "warning", FAILED: "error", TOO_SMALL: "warning", CANCELLED: "info" }
// Retry goes on after a failure, asks a person about a small audience, and makes an expired one again.
const RETRIED = new Set(["FAILED", "TOO_SMALL", "EXPIRED"])

/** Figures, the way into Campaign Manager, the members left out, and what can be done next. */
export class Result {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    this.heading = h("h2")
    this.body = h("div.result")
    const { speech } = tab
    this.retry = button(speech.say("result.retry"), () => tab.retry(), { appearance: "primary" })
    this.another = button(speech.say("result.another"), () => tab.another())
    this.newest = button(speech.say("result.newest"), () => tab.pick(null), { appearance: "subtle" })
    this.element = h("div.screen", {}, this.heading, this.body, h("div.actions", {}, this.retry, this.another, this.newest))
  }

  /** @param {{audience: object}} view */
  update({ audience }) {
    const { speech, busy, known } = this.tab
    setText(this.heading, speech.say(`result.${NAMES[audience.status]}`))
    this.retry.hidden = !RETRIED.has(audience.status) || !this.tab.api.isMine(audience)
    setBusy(this.retry, busy === "retry", speech.say(busy === "retry" ? "result.retrying" : "result.retry"))
    this.another.hidden = audience.status === "BUILDING"
    this.newest.hidden = known.audiences[0]?.id === audience.id
    const key = JSON.stringify(audience)
    if (key === this.shown) return
    this.shown = key
    fill(this.body, this.verdict(audience), this.facts(audience), this.wayThere(audience), this.members(audience))
  }

  verdict(audience) {
    const { speech } = this.tab
    const { status, sent, matched, message } = audience
    const isSmall = status === "READY" && matched !== null && matched < SMALLEST_SERVED
    if (isSmall) return notice("warning", speech.say("result.readySmall", { limit: SMALLEST_SERVED }))
    const key = status === "CANCELLED" && !sent ? "result.cancelledEarly" : `result.${NAMES[status]}Do`
    const words = speech.say(key, { limit: SMALLEST_SERVED })
    // The worker's own sentence says what exactly went wrong.
    return status === "FAILED" && message ? notice("error", message, words) : notice(INTENTS[status], words)
  }

  facts(audience) {
    const { speech } = this.tab
    if (audience.sent === null) return null
    const isPending = audience.status === "BUILDING"
    const later = (words) => (isPending && words === "–" ? speech.say("result.pending") : words)
    const took = audience.started && audience.finished && speech.say("result.took", { duration: speech.duration(audience.finished - audience.started) })
    return [
      h(
        "dl.figures-grid",
        {},
        fact(speech.say("result.sent"), speech.number(audience.sent)),
        fact(speech.say("result.refused"), speech.number(audience.refused ?? 0)),
        fact(speech.say("result.matched"), later(speech.number(audience.matched))),
        fact(speech.say("result.size"), later(speech.number(audience.size))),
        fact(speech.say("result.rate"), later(speech.percent(audience.matchRate))),
      ),
      h(
        "dl.facts",
        {},
        fact(speech.say("result.name"), audience.name || "–"),
        fact(speech.say("result.account"), audience.accountName || audience.account || "–"),
        audience.finished && fact(speech.say("result.time"), speech.moment(audience.finished), took),
      ),
    ]
  }

  wayThere({ link, status }) {
    const { speech } = this.tab
    const href = safeAddress(link)
    if (!href || status === "EXPIRED") return null
    const anchor = h(
      "a.outside",
      { href, target: "_blank", rel: "noopener noreferrer" },
      speech.say("result.open"), icon("open"), h("span.spoken", {}, ` (${speech.say("result.newTab")})`),
    )
    return h("p.way", {}, anchor, " ", h("span.note", {}, speech.say("result.path")))
  }

  members(audience) {
    const { speech, api } = this.tab
    if (!audience.tally.members) return null
    const download = h("a.outside", { href: api.leftOutAddress(audience), download: "members-left-out.csv" }, icon("download"), speech.say("result.leftOut"))
    return h(
      "div.members",
      {},
      h("h3", {}, speech.say("result.members")),
      tallyChart(speech, audience.tally),
      audience.hasLeftOut && h("p.way", {}, download, " ", h("span.note", {}, speech.say("result.leftOutNote"))),
    )
  }
}

function fact(name, value, note) {
  return h("div.fact", {}, h("dt", {}, name), h("dd", {}, value, note && h("span.note", {}, ` ${note}`)))
}
