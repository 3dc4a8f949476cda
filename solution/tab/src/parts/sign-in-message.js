/** What to know about an attempt to sign in to LinkedIn. */

import { fill, h } from "../dom.js"
import { notice } from "./notice.js"

/** One message that follows the attempt; empty while there is nothing to say. */
export class SignInMessage {
  /** @param {import("../tab.js").Tab} tab */
  constructor(tab) {
    this.tab = tab
    this.element = h("div.message", { role: "status" })
  }

  /** @param {boolean} isWanted - whether this is the place to say it */
  update(isWanted) {
    const { flow, known } = this.tab
    const key = isWanted && [flow.phase, flow.address, flow.isRefused, known.signIn?.message].join()
    if (key === this.shown) return
    this.shown = key
    fill(this.element, isWanted && this.messageFor(flow, known.signIn))
  }

  messageFor({ phase, address, isRefused }, signIn) {
    const say = (key) => this.tab.speech.say(`connect.${key}`)
    switch (phase) {
      case "preparing-link":
        return notice("warning", say("blockedWait"))
      case "blocked":
        return notice("warning", say("blocked"), h("p", {}, h("a", { href: address, target: "_blank", rel: "opener" }, say("link"))))
      case "open":
        return notice("info", say("open"))
      case "closed":
      case "late":
      case "silent":
        return notice("warning", say(phase))
      default:
        return isRefused && phase === "idle" ? notice("error", say("refused"), signIn?.message, say("refusedDo")) : null
    }
  }
}
