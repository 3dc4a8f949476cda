/** The LinkedIn sign-in of this user: always visible, with its days left and what can be done. */

import { fill, h, icon } from "../dom.js"
import { isSignedIn, signInState, WARN_DAYS } from "../rows.js"
import { daysLeft } from "../speech.js"
import { askingButton, button } from "./controls.js"
import { notice } from "./notice.js"
import { SignInMessage } from "./sign-in-message.js"

const PICTURES = { ok: "ok", soon: "warning", expired: "error", refused: "error", waiting: "info", none: "info" }

/** Shows the sign-in at the page's head, and a warning below when it is about to end. */
export class SignInBar {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    this.element = h("div.sign-in-bar")
    this.message = new SignInMessage(tab)
    this.ending = h("div")
    this.warning = h("div.warning", {}, this.message.element, this.ending)
  }

  /** Show the sign-in as the tab knows it. Does nothing while that says the same as before. */
  update() {
    this.message.update(!this.tab.screen.showsSignIn)
    const { signIn } = this.tab.known
    const now = new Date()
    const state = this.stateNow(signIn, now)
    const days = signIn?.expires ? daysLeft(signIn.expires, now) : null
    const key = [state, days, signIn?.name, Boolean(this.tab.known.problem)].join()
    if (key === this.shown) return
    this.shown = key
    fill(this.element, this.tab.known.problem && !signIn ? [] : this.status(state, signIn, days), this.commands(state))
    fill(this.ending, this.warningFor(state, signIn, days))
  }

  // Waiting is what this window does; a row that waits may have been given up in another one.
  stateNow(signIn, now) {
    const state = signInState(signIn, now)
    if (this.tab.flow.isActive && !isSignedIn(signIn, now)) return "waiting"
    return state === "waiting" ? "none" : state
  }

  status(state, signIn, days) {
    const { speech } = this.tab
    const isOk = state === "ok" || state === "soon"
    const words = isOk ? (signIn.name ? speech.say("signin.okAs", { name: signIn.name }) : speech.say("signin.ok")) : speech.say(`signin.${state}`)
    const left = days < 1 ? speech.say("signin.lastDay") : speech.say("signin.days", { count: days })
    return h(
      "span.sign-in-status",
      {},
      icon(PICTURES[state]),
      h("span", {}, words),
      isOk && days !== null && h("fluent-badge", { appearance: "tint", color: days <= WARN_DAYS ? "warning" : "subtle" }, left),
    )
  }

  commands(state) {
    const { tab } = this
    if (tab.known.problem) return null
    if (state === "ok" || state === "soon") {
      return askingButton({
        words: tab.speech.say("signin.out"),
        question: () => tab.speech.say("signin.outAsk"),
        yes: tab.speech.say("signin.outYes"),
        no: tab.speech.say("signin.outNo"),
        act: () => tab.signOut(),
        attributes: { appearance: "subtle", size: "small" },
      })
    }
    const words = state === "expired" || state === "refused" ? "signin.again" : "signin.in"
    return state === "waiting" ? null : button(tab.speech.say(words), () => tab.signIn(), { appearance: "subtle", size: "small" })
  }

  warningFor(state, signIn, days) {
    const { speech } = this.tab
    if (state !== "soon" && state !== "expired") return null
    const day = signIn.expires ? speech.day(signIn.expires) : ""
    const soon = days < 1 ? speech.say("signin.soonToday") : speech.say("signin.soon", { count: days, day })
    const words = state === "soon" ? soon : speech.say("signin.expiredLong")
    const again = button(speech.say("signin.again"), () => this.tab.signIn(), { size: "small" })
    return notice("warning", words, h("div.actions", {}, again))
  }
}
