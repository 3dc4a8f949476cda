/** Work goes on: members are read or sent. */

import { fill, h, setAttribute, setText } from "../dom.js"
import { askingButton } from "../parts/controls.js"
import { notice } from "../parts/notice.js"
import { SignInPanel } from "../parts/sign-in-panel.js"
import { BATCH, isSignedIn } from "../rows.js"

const HEADINGS = { checking: "checking", slow: "checking", starting: "starting", sending: "sending", cancelling: "cancelling" }
const ANNOUNCE_EVERY = 25

/** Real progress with a way to stop it; while members are read, the sign-in can go on. */
export class Running {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    const { speech } = tab
    this.heading = h("h2")
    this.lead = h("p.lead")
    this.bar = h("fluent-progress-bar", { role: "progressbar", "aria-label": speech.say("running.progress"), min: "0", max: "100", thickness: "large" })
    this.figures = h("p.figures")
    this.detail = h("p.note", { dir: "auto" })
    this.slow = h("div", { role: "status" })
    this.by = h("p.note")
    this.cancel = askingButton({
      words: speech.say("running.cancel"),
      question: () => speech.say(this.phase === "sending" ? "running.cancelAskSend" : "running.cancelAskCheck"),
      yes: speech.say("running.cancelYes"),
      no: speech.say("running.cancelNo"),
      act: () => tab.cancel(),
    })
    this.panel = new SignInPanel(tab)
    this.meanwhile = h("div.meanwhile", {}, h("p", {}, speech.say("connect.while")), this.panel.element)
    this.element = h(
      "div.screen",
      {},
      this.heading, this.lead, this.bar, this.figures, this.detail, this.slow, this.meanwhile,
      h("p.note", {}, speech.say("running.close")), this.by, h("div.actions", {}, this.cancel),
    )
  }

  /** @returns {boolean} whether this screen tells itself how the sign-in goes */
  get showsSignIn() {
    return !this.meanwhile.hidden
  }

  /** @param {{audience: object, phase: string}} view */
  update({ audience, phase = "checking" }) {
    const { speech, known } = this.tab
    const isReading = phase === "checking" || phase === "slow"
    this.phase = phase
    const name = HEADINGS[phase]
    setText(this.heading, speech.say(`running.${name}`))
    setText(this.lead, speech.say(`running.${name}Do`, { size: BATCH }))
    setText(this.figures, this.figuresFor(audience, phase))
    setText(this.detail, audience.message)
    setText(this.by, audience.ownerName ? speech.say("running.by", { name: audience.ownerName, time: speech.moment(audience.created) }) : "")
    if (Boolean(this.slow.firstChild) !== (phase === "slow")) fill(this.slow, phase === "slow" && notice("info", speech.say("running.slow")))
    this.meanwhile.hidden = !isReading || (isSignedIn(known.signIn, new Date()) && !this.tab.flow.isActive)
    this.cancel.hidden = phase === "cancelling" || !this.tab.api.isMine(audience)
    this.panel.update()
    this.progress(this.percent(audience, phase))
  }

  percent({ tally, sent, refused }, phase) {
    const share = (part, whole) => (part && whole ? Math.min(100, Math.floor((100 * part) / whole)) : 0)
    if (phase === "checking") return share(tally.members, this.tab.known.segment.members)
    return phase === "sending" ? share((sent ?? 0) + (refused ?? 0), tally.eligible) : 0
  }

  progress(percent) {
    // Without a value the bar moves to and fro: the work has not told yet how far it is.
    setAttribute(this.bar, "value", percent > 0 ? percent : null)
    setAttribute(this.bar, "aria-valuenow", percent > 0 ? percent : null)
    const mark = `${this.phase} ${Math.floor(percent / ANNOUNCE_EVERY)}`
    if (percent > 0 && mark !== this.announced) this.tab.announce(`${this.heading.textContent}: ${this.tab.speech.percent(percent)}. ${this.figures.textContent}`)
    this.announced = mark
  }

  figuresFor({ tally, sent }, phase) {
    const { speech } = this.tab
    if (phase === "checking" && tally.members) return speech.say("running.read", { count: tally.members })
    if (phase !== "sending" || !tally.eligible) return ""
    const done = sent ?? 0
    const batches = Math.ceil(tally.eligible / BATCH)
    const batch = Math.min(batches, Math.floor(done / BATCH) + 1)
    return `${speech.say("running.sent", { sent: done, eligible: tally.eligible })} · ${speech.say("running.batches", { batch, batches })}`
  }
}
