/** The members have been read: how many can be sent, and why the others cannot. */

import { fill, h, setText } from "../dom.js"
import { askingButton, button, labelled, setBusy, tellState } from "../parts/controls.js"
import { notice } from "../parts/notice.js"
import { tallyChart } from "../parts/tally.js"
import { ADVISED, isSignedIn, SMALLEST_SERVED } from "../rows.js"

/** Below 300 it needs a second, explicit yes before it goes on. */
export class Checked {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    const { speech } = tab
    this.heading = h("h2")
    this.lead = h("p.lead", {}, speech.say("checked.lead"))
    this.chart = h("div")
    this.advice = h("div.advice")
    this.problem = h("div.field-error", { role: "alert" })
    this.go = button(speech.say("checked.continue"), () => this.continue(), { appearance: "primary" })
    this.recheck = button(speech.say("checked.again"), () => tab.recheck())
    this.cancel = askingButton({
      words: speech.say("checked.cancel"),
      question: () => speech.say("running.cancelAskCheck"),
      yes: speech.say("running.cancelYes"),
      no: speech.say("running.cancelNo"),
      act: () => tab.cancel(),
      attributes: { appearance: "subtle" },
    })
    this.mine = h("div.screen", {}, this.advice, this.problem, h("div.actions", {}, this.go, this.recheck, this.cancel))
    this.others = h("div.advice")
    this.element = h("div.screen", {}, this.heading, this.lead, this.chart, this.mine, this.others)
  }

  /** @param {{audience: object}} view */
  update({ audience }) {
    const { speech, busy } = this.tab
    const { tally } = audience
    const usable = tally.eligible
    setText(this.heading, usable ? speech.say("checked.heading", { count: usable, members: tally.members ?? usable }) : speech.say("checked.none"))
    setBusy(this.recheck, busy === "recheck", speech.say("checked.again"))
    this.go.hidden = usable === 0
    const key = JSON.stringify([audience.id, tally])
    if (key === this.shown) return
    this.shown = key
    this.usable = usable
    this.id = audience.id
    fill(this.chart, tallyChart(speech, tally))
    const isMine = this.tab.api.isMine(audience)
    this.mine.hidden = !isMine
    fill(this.advice, isMine && this.adviceFor(usable))
    fill(this.others, !isMine && this.noticeFor(audience))
  }

  adviceFor(usable) {
    const { speech, draft } = this.tab
    if (usable === 0) return notice("warning", speech.say("checked.noneDo"))
    if (usable >= ADVISED) return null
    if (usable >= SMALLEST_SERVED) return notice("info", speech.say("checked.advised", { limit: ADVISED, count: usable }))
    this.yes = h("fluent-checkbox", { id: "small-yes", onchange: () => this.said() })
    this.yes.checked = draft.smallConfirmed === this.id
    tellState(this.yes, "checkbox", this.yes.checked)
    const values = { limit: SMALLEST_SERVED, count: usable }
    return [
      notice("warning", speech.say("checked.small", values), speech.say("checked.smallDo", values)),
      labelled(this.yes, speech.say("checked.smallYes")),
    ]
  }

  noticeFor({ ownerName }) {
    const { speech } = this.tab
    const another = button(speech.say("result.another"), () => this.tab.another())
    return [notice("info", speech.say("checked.others", { name: ownerName })), h("div.actions", {}, another)]
  }

  said() {
    this.tab.draft.smallConfirmed = this.yes.checked ? this.id : null
    tellState(this.yes, "checkbox", this.yes.checked)
    if (this.yes.checked) setText(this.problem, "")
  }

  continue() {
    const { tab } = this
    if (this.usable < SMALLEST_SERVED && tab.draft.smallConfirmed !== this.id) {
      setText(this.problem, tab.speech.say("checked.smallMissing", { limit: SMALLEST_SERVED }))
      this.yes.focus()
      return
    }
    tab.goTo(isSignedIn(tab.known.signIn, new Date()) ? "choose" : "signin")
  }
}
