/** Signing in to LinkedIn: what will be asked, and the button that opens LinkedIn's window. */

import { h } from "../dom.js"
import { button } from "../parts/controls.js"
import { SignInPanel } from "../parts/sign-in-panel.js"

/** The wizard goes on by itself once the sign-in is there. */
export class SignInScreen {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    const { speech } = tab
    this.panel = new SignInPanel(tab)
    this.heading = h("h2", {}, speech.say("connect.heading"))
    this.element = h(
      "div.screen",
      {},
      this.heading,
      h("p.lead", {}, speech.say("connect.lead")),
      h("p", {}, speech.say("connect.asks")),
      h("ul", {}, ["asks1", "asks2", "asks3"].map((key) => h("li", {}, speech.say(`connect.${key}`)))),
      h("p.note", {}, speech.say("connect.once")),
      this.panel.element,
    )
    this.panel.button.after(button(speech.say("connect.back"), () => tab.goTo("checked")))
  }

  /** @returns {boolean} that this screen tells itself how the sign-in goes */
  get showsSignIn() {
    return true
  }

  /** Show where the attempt stands. */
  update() {
    this.panel.update()
  }
}
