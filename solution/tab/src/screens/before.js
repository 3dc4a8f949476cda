/** Before anything was asked: what this does, and what the rules mean for this segment. */

import { h, icon } from "../dom.js"
import { ADVISED, SMALLEST_SERVED } from "../rows.js"
import { button, setBusy } from "../parts/controls.js"

/** The first screen; *Next* has the members read. */
export class Before {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    const { speech, known } = tab
    const { members } = known.segment
    this.heading = h("h2", {}, speech.say("before.heading"))
    this.next = button(speech.say("before.next"), () => tab.check(), { appearance: "primary" })
    this.element = h(
      "div.screen",
      {},
      this.heading,
      h("p.lead", {}, speech.say("before.lead")),
      h("div.sizes", {}, this.count(members), h("ul.rules", {}, this.rule("minimum", members, SMALLEST_SERVED), this.rule("advised", members, ADVISED))),
      h("div.actions", {}, this.next, known.audiences.length > 0 && button(speech.say("before.dismiss"), () => tab.pick(null))),
      h(
        "div",
        {},
        h("h3", {}, speech.say("before.what")),
        h("ol.what", {}, ["what1", "what2", "what3"].map((key) => h("li", {}, speech.say(`before.${key}`)))),
      ),
      h("p.privacy", {}, icon("lock"), h("span", {}, speech.say("before.privacy"))),
    )
  }

  /** Show whether the check is being asked for. */
  update() {
    const isBusy = this.tab.busy === "check"
    setBusy(this.next, isBusy, this.tab.speech.say(isBusy ? "before.starting" : "before.next"))
  }

  count(members) {
    const { speech } = this.tab
    if (members === null) return h("p.count", {}, speech.say("before.countUnknown"))
    return h(
      "div.count",
      {},
      h("p", {}, h("span.figure", {}, speech.number(members)), " ", speech.say("before.count", { count: members })),
      h("p.note", {}, speech.say("before.countNote")),
    )
  }

  rule(name, members, limit) {
    const { speech } = this.tab
    const isMet = members === null ? null : members >= limit
    const verdict = isMet === null ? "before.unknown" : `before.${name}${isMet ? "Met" : "NotMet"}`
    return h(
      "li",
      {},
      icon(isMet === null ? "info" : isMet ? "ok" : "warning"),
      h("span", {}, h("strong", {}, speech.say(`before.${name}`, { limit })), h("br"), speech.say(verdict, { count: members ?? 0 })),
    )
  }
}
