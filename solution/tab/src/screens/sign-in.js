/** Signing in to LinkedIn: what will be asked, and the button that opens LinkedIn's window. */

import { fill, h } from "../dom.js"
import { button } from "../parts/controls.js"
import { notice } from "../parts/notice.js"
import { SignInPanel } from "../parts/sign-in-panel.js"

/** The wizard goes on by itself once the sign-in is there. */
export class SignInScreen {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    const { speech } = tab
    this.panel = new SignInPanel(tab)
    this.tab = tab
    this.heading = h("h2", {}, speech.say("connect.heading"))
    this.reason = h("div", { role: "status" })
    this.back = button(speech.say("connect.back"), () => tab.goTo("checked"))
    this.element = h(
      "div.screen",
      {},
      this.heading,
      this.reason,
      h("p.lead", {}, speech.say("connect.lead")),
      h("p", {}, speech.say("connect.asks")),
      h("ul", {}, ["asks1", "asks2", "asks3"].map((key) => h("li", {}, speech.say(`connect.${key}`)))),
      h("p.note", {}, speech.say("connect.once")),
      this.panel.element,
    )
    this.panel.button.after(this.back)
  }

  /** @returns {boolean} that this screen tells itself how the sign-in goes */
  get showsSignIn() {
    return true
  }

  /** @param {{audience: object}} view */
  update({ audience }) {
    const wasOnItsWay = Boolean(audience.account)
    this.back.hidden = wasOnItsWay
    const message = wasOnItsWay ? audience.message : ""
    if (message !== this.shown) fill(this.reason, message && notice("warning", message))
    this.shown = message
    this.panel.update()
  }
}
