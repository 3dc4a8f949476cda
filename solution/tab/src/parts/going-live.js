/** The switch *Create an audience whenever this segment goes live*, with the ad account to use. */

import { fill, h, setAttribute, setText } from "../dom.js"
import { isSignedIn } from "../rows.js"
import { labelled, tellState } from "./controls.js"

/** Writes the mark on the segment's own record; the mark runs with the sign-in of the person who set it. */
export class GoingLive {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    const { speech } = tab
    this.switch = h("fluent-switch", { id: "live-switch", onchange: () => this.switched() })
    this.select = h("select", { id: "live-account", onchange: () => this.chosen() })
    this.account = h("div.select-field", {}, h("label", { for: "live-account" }, speech.say("live.account")), h("span.select", {}, this.select))
    this.note = h("p.note", { role: "status" })
    this.element = h(
      "section.card.going-live",
      { hidden: true, "aria-labelledby": "live" },
      h("h2", { id: "live" }, speech.say("live.heading")),
      labelled(this.switch, speech.say("live.switch")),
      this.account,
      this.note,
    )
  }

  /** Show the mark as the tab knows it. */
  update() {
    const { known, busy } = this.tab
    const mark = known.segment?.mark
    this.element.hidden = !mark || Boolean(known.problem)
    if (!mark || busy === "mark") return
    this.offer(mark)
    const cannot = this.reason(mark)
    if (this.switch.checked !== mark.on) this.switch.checked = mark.on
    setAttribute(this.switch, "disabled", !mark.on && Boolean(cannot))
    setAttribute(this.switch, "aria-disabled", !mark.on && cannot ? "true" : null)
    tellState(this.switch, "switch", mark.on)
    this.account.hidden = this.accounts().length === 0
    setText(this.note, mark.on ? this.describe(mark) : (cannot ?? ""))
  }

  offer(mark) {
    const accounts = this.accounts()
    const key = JSON.stringify([accounts, mark])
    if (key === this.offered) return
    this.offered = key
    const isOffered = accounts.some(({ urn }) => urn === mark.account)
    const options = accounts.map(({ urn, name, id }) => h("option", { value: urn }, `${name} (${id})`))
    fill(this.select, h("option", { value: "" }, this.tab.speech.say("live.choose")), ...options)
    this.select.value = isOffered ? mark.account : ""
  }

  accounts() {
    const { signIn } = this.tab.known
    return isSignedIn(signIn, new Date()) ? signIn.accounts.filter(({ usable }) => usable) : []
  }

  reason() {
    const { known, speech } = this.tab
    if (!isSignedIn(known.signIn, new Date())) return speech.say("live.needsSignIn")
    if (this.accounts().length === 0) return speech.say("live.noAccount")
    return this.select.value ? null : speech.say("live.needsAccount")
  }

  describe(mark) {
    const { api, speech } = this.tab
    const name = mark.setBy.toLowerCase() === api.userId ? speech.say("live.you") : mark.setByName
    return speech.say("live.on", { account: mark.accountName || mark.account, name })
  }

  switched() {
    const { known } = this.tab
    if (this.switch.checked !== known.segment.mark.on) this.tab.markForGoingLive(this.switch.checked, this.chosenAccount())
  }

  chosen() {
    const account = this.chosenAccount()
    if (this.tab.known.segment.mark.on && account) this.tab.markForGoingLive(true, account)
    else this.tab.show()
  }

  chosenAccount() {
    return this.accounts().find(({ urn }) => urn === this.select.value) ?? null
  }
}
