/** Why this segment cannot become an audience, and what to do about it. */

import { fill, h, icon } from "../dom.js"
import { button, setBusy } from "../parts/controls.js"
import { tallyChart } from "../parts/tally.js"

/** One sentence with the reason, one with the next step. */
export class Refused {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    const { speech } = tab
    this.heading = h("h2")
    this.body = h("div")
    this.again = button(speech.say("refused.again"), () => tab.again(), { appearance: "primary" })
    this.anyway = button(speech.say("refused.anyway"), () => tab.anyway())
    this.element = h("div.screen.refused", {}, icon("warning"), h("div", {}, this.heading, this.body, h("div.actions", {}, this.again, this.anyway)))
  }

  /** @param {{reason: string, audience: object | null}} view */
  update({ reason, audience }) {
    const { speech, busy } = this.tab
    this.heading.textContent = speech.say(`refused.${reason}`)
    const counted = audience?.tally.members ? tallyChart(speech, audience.tally) : null
    fill(this.body, audience?.message && h("p", { dir: "auto" }, audience.message), h("p", {}, speech.say(`refused.${reason}Do`)), counted)
    this.anyway.hidden = reason !== "notStatic"
    setBusy(this.again, busy === "again" || busy === "retry", speech.say("refused.again"))
  }
}
