/** The button that signs in to LinkedIn, with what to know about the attempt. */

import { h } from "../dom.js"
import { button, setBusy } from "./controls.js"
import { SignInMessage } from "./sign-in-message.js"

/** Used on the sign-in screen, and beside the progress while members are read. */
export class SignInPanel {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    this.message = new SignInMessage(tab)
    this.button = button(tab.speech.say("connect.button"), () => tab.signIn(), { appearance: "primary" })
    this.element = h("div.sign-in-panel", {}, this.message.element, h("div.actions", {}, this.button))
  }

  /** Show where the attempt stands. */
  update() {
    const { flow, speech } = this.tab
    const isPreparing = flow.phase.startsWith("preparing")
    setBusy(this.button, isPreparing, speech.say(isPreparing ? "connect.preparing" : "connect.button"))
    this.message.update(true)
  }
}
